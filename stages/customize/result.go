package customize

// Result is what customizing a net for a task has cost and changed.
type Result struct {
	Task   string `arrow:"task"`
	Metric string `arrow:"metric"`
	// Subnet is the name of the net, and Version says which version of it was delivered; see Candidate.
	Subnet  string `arrow:"subnet"`
	Version string `arrow:"version"`
	// Images is the number of images that all versions were trained on, and Seconds how long that took.
	Images  int64   `arrow:"images"`
	Seconds float64 `arrow:"seconds"`
	// ScoreBefore and Score are the scores on the training images of the net as it was and of the version, in percent.
	ScoreBefore float64 `arrow:"score_before"`
	Score       float64 `arrow:"score"`
	// TestBefore and Test are those on the TestImages under kNN, and Difference is by how many percentage points the version is
	// better, with the ends of its 95 % interval, see evaluate.Comparison. Without test images, they have no meaning.
	TestImages int64   `arrow:"test_images"`
	TestBefore float64 `arrow:"test_before"`
	Test       float64 `arrow:"test"`
	Difference float64 `arrow:"difference"`
	Low        float64 `arrow:"low"`
	High       float64 `arrow:"high"`
	// Dir is the folder that holds the model.
	Dir string `arrow:"dir"`
}
