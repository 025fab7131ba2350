package bench

// Result holds the measurements of one case. Without PyTorch, the Torch fields are empty.
type Result struct {
	// Case is the case's name, GROUP/...
	Case string `json:"case"`
	// Sizes are the case's parameters.
	Sizes map[string]any `json:"sizes"`
	// Threads is the number of threads on each side.
	Threads int `json:"threads"`
	// ISA is the instruction set of our kernels.
	ISA string `json:"isa"`
	// Precision is the precision of the operands of products: fp32, tf32 or bf16.
	Precision string `json:"precision"`
	// Seconds is the median time of one run.
	Seconds float64 `json:"seconds"`
	// SecondsMin is the shortest measurement, which other programs disturbed least.
	SecondsMin float64 `json:"seconds_min"`
	// GFLOPS is the rate at Seconds, in 10^9 floating-point operations per second.
	GFLOPS float64 `json:"gflops,omitempty"`
	// PeakGFLOPS is the rate that the machine reaches on as many threads with matrices that stay in the cache; 0 for a
	// GPU.
	PeakGFLOPS float64 `json:"peak_gflops,omitempty"`
	// PeakShare is GFLOPS / PeakGFLOPS.
	PeakShare float64 `json:"peak_share,omitempty"`
	// ImagesPerSecond is the rate at Seconds; the two views of an image count once.
	ImagesPerSecond float64 `json:"images_per_second,omitempty"`
	// DataWait is the share of time that the training loop waited for its views.
	DataWait float64 `json:"data_wait,omitempty"`
	// MemoryMiB is the growth of the process's peak resident memory from a step and everything it keeps. On a GPU it is what
	// that needs of the GPU's memory, without the workspaces of algorithms that were only tried.
	MemoryMiB float64 `json:"memory_mib,omitempty"`
	// Neighbours is the processor load from other programs in the pauses between measurements, as a share of all
	// processors. Unless it is near 0, the results mean little.
	Neighbours float64 `json:"neighbours,omitempty"`

	// TorchSeconds and the next five fields are like those above, for PyTorch.
	TorchSeconds         float64 `json:"torch_seconds,omitempty"`
	TorchSecondsMin      float64 `json:"torch_seconds_min,omitempty"`
	TorchGFLOPS          float64 `json:"torch_gflops,omitempty"`
	TorchImagesPerSecond float64 `json:"torch_images_per_second,omitempty"`
	TorchDataWait        float64 `json:"torch_data_wait,omitempty"`
	TorchMemoryMiB       float64 `json:"torch_memory_mib,omitempty"`
	// TorchVariant is PyTorch's fastest variant, which was measured.
	TorchVariant string `json:"torch_variant,omitempty"`
	// TorchVersion is PyTorch's version.
	TorchVersion string `json:"torch_version,omitempty"`
	// TorchNote says which variants PyTorch's side could not try, and why.
	TorchNote string `json:"torch_note,omitempty"`
	// Ratio is TorchSeconds / Seconds; above 1, we are faster.
	Ratio float64 `json:"ratio,omitempty"`
}
