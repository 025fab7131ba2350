// Package transforms gives an overview of the Beam transforms in its subpackages. They know nothing of sdr's method and
// fit any pipeline:
//
//   - record: Arrow batches as elements, from and to PCollections of structs
//   - arrowio: Parquet and Arrow IPC files
//   - imageio: image collections, decoded
//   - inference: image features from a model
//   - kmeans: clustering, assignment to given centroids, whitening
//   - knn: nearest-neighbor search and classification
//   - probe: linear classifiers on features
//
// All take PCollections before their configuration, and consume and produce PCollection<*record.Batch>, so that they
// chain:
//
//	images, dead := imageio.Read(s, "photos/")
//	features, failed := inference.Embed(s, images, inference.Config{Model: "model.safetensors"})
//	assigned, centroids := kmeans.Cluster(s, features, kmeans.Config{Column: "feature", Branching: []int{8}, Iterations: 20})
//	arrowio.WriteParquet(s, "clusters.parquet", assigned)
//	arrowio.WriteParquet(s, "dead-letters.parquet", dead)
//
// The documentation of each package lists the columns it reads and adds, its guarantees, and its failure modes. The
// packages files, compute and tasks are shared helpers.
package transforms
