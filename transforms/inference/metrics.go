package inference

import "github.com/apache/beam/sdks/v2/go/pkg/beam"

// namespace is the namespace of the metrics, whose names are those of Python's RunInference.
const namespace = "inference"

var (
	inferences    = beam.NewCounter(namespace, "num_inferences")
	failedBatches = beam.NewCounter(namespace, "failed_batches_counter")
	requestSize   = beam.NewDistribution(namespace, "inference_request_batch_size")
	latency       = beam.NewDistribution(namespace, "inference_batch_latency_micro_secs")
	loadLatency   = beam.NewDistribution(namespace, "load_model_latency_milli_secs")
)
