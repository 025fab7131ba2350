package bench

// Result is what was measured of one case. The fields of the other side are empty where there is none.
type Result struct {
	// Case is the case's name, GROUP/...
	Case string `json:"case"`
	// Sizes are its arguments.
	Sizes map[string]any `json:"sizes"`
	// Threads is the number of threads of either side.
	Threads int `json:"threads"`
	// ISA is the instruction set of our kernels.
	ISA string `json:"isa"`
	// Precision is what products are made of, fp32 or bf16.
	Precision string `json:"precision"`
	// Seconds is the median time of one run.
	Seconds float64 `json:"seconds"`
	// SecondsMin is the shortest of the measurements, which neighbours on the machine disturbed least.
	SecondsMin float64 `json:"seconds_min"`
	// GFLOPS is the rate, in 10^9 floating-point operations a second, at Seconds.
	GFLOPS float64 `json:"gflops,omitempty"`
	// PeakGFLOPS is what the machine reached, on as many threads, with matrices that stay in the cache (see peak).
	PeakGFLOPS float64 `json:"peak_gflops"`
	// PeakShare is GFLOPS / PeakGFLOPS.
	PeakShare float64 `json:"peak_share,omitempty"`
	// ImagesPerSecond is the rate at Seconds; two views of an image are one image.
	ImagesPerSecond float64 `json:"images_per_second,omitempty"`
	// DataWait is the share of the time that the training loop waited for its views.
	DataWait float64 `json:"data_wait,omitempty"`
	// MemoryMiB is by how much a step, with all that it keeps, raised the process's resident memory at its highest.
	MemoryMiB float64 `json:"memory_mib,omitempty"`
	// Neighbours is the share of the machine's processors that other programs kept busy in the pauses between the
	// measurements. Unless it is near 0 the figures are worth little.
	Neighbours float64 `json:"neighbours,omitempty"`

	// TorchSeconds, and the next five, are as above.
	TorchSeconds         float64 `json:"torch_seconds,omitempty"`
	TorchSecondsMin      float64 `json:"torch_seconds_min,omitempty"`
	TorchGFLOPS          float64 `json:"torch_gflops,omitempty"`
	TorchImagesPerSecond float64 `json:"torch_images_per_second,omitempty"`
	TorchDataWait        float64 `json:"torch_data_wait,omitempty"`
	TorchMemoryMiB       float64 `json:"torch_memory_mib,omitempty"`
	// TorchVariant is the fastest of its variants, the one that was measured.
	TorchVariant string `json:"torch_variant,omitempty"`
	// TorchVersion is PyTorch's.
	TorchVersion string `json:"torch_version,omitempty"`
	// TorchNote says what its side could not try, and why.
	TorchNote string `json:"torch_note,omitempty"`
	// Ratio is TorchSeconds / Seconds: above 1 we are faster.
	Ratio float64 `json:"ratio,omitempty"`
}
