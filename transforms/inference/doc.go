// Package inference computes image features with a trained model: as a Beam transform ([Embed]), in DoFns that have
// their own images ([Open], [Features]), and on the caller's thread pool ([Embedder]). [Predict] classifies images by a
// model with a [Classifier].
//
// Inputs and outputs. Embed takes a PCollection<*record.Batch> of decoded images, for example from imageio.Read, with
// the columns width and height (int32) and pixels (binary: rows of red, green, blue bytes). It returns the rows with
// these columns replaced by the features, and dead letters. A model is a file that nn.SaveModel wrote with its [Input],
// such as the ones that sdr's route and export write.
//
// Determinism. The features of an image are bitwise identical, regardless of the other images, the batching and
// bundling, the runner and the number of threads. The machine's instruction set and tuning table (compute.Tune) may
// change the last bits, and a GPU (compute.Use) the last few digits.
//
// Errors. An invalid image, or one whose request failed, becomes a dead letter with the reason. An unreadable model or
// a missing column fails the pipeline.
//
// Metrics, in the namespace "inference", are those of RunInference in Beam for Python: num_inferences,
// failed_batches_counter, inference_request_batch_size, inference_batch_latency_micro_secs and
// load_model_latency_milli_secs.
package inference
