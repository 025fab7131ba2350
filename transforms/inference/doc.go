// Package inference computes the features of images under a trained model: as a
// Beam transform ([Embed]), for DoFns that have images of their own ([Open],
// [Features]), and on a thread pool of the caller ([Embedder]).
//
// Inputs and outputs. Embed takes a PCollection<*record.Batch> of decoded images,
// such as imageio.Read emits: the columns width and height (int32) and pixels
// (binary: rows of red, green, blue bytes). It returns the same rows without these
// columns but with their features, and dead letters. A model is a file that
// nn.SaveModel wrote with its [Input]: what sdr's route and export hand out.
//
// Determinism. The features of an image are the same to the bit whatever other
// images there are, how they are cut into batches and bundles, which runner runs
// and how many threads there are; the machine's instruction set and table of
// algorithms (compute.Tune) may change their last bits.
//
// Errors. An image that is no image, or whose request failed, is a dead letter with
// the reason. A model that cannot be read fails the pipeline, as does a batch that
// lacks a column.
//
// Metrics, in the namespace "inference", are those of RunInference in Beam for
// Python: num_inferences, failed_batches_counter, inference_request_batch_size,
// inference_batch_latency_micro_secs and load_model_latency_milli_secs.
package inference
