// Package transforms is the overview of the Beam transforms in the folders beside this
// file, which know nothing of sdr's method and are for any pipeline:
//
//   - record: Arrow batches as elements, from and to PCollections of structs
//   - arrowio: Parquet and Arrow IPC files
//   - imageio: collections of images, decoded
//   - inference: features of images under a model
//   - kmeans: clustering, assignment to known centroids, whitening
//   - knn: nearest neighbours, classification by them
//   - probe: linear classifiers on features
//
// All take collections before their configuration, and give and take
// PCollection<*record.Batch>, so that they chain:
//
//	images, dead := imageio.Read(s, "photos/")
//	features, failed := inference.Embed(s, images, inference.Config{Model: "model.safetensors"})
//	assigned, centroids := kmeans.Cluster(s, features, kmeans.Config{Column: "feature", Branching: []int{8}, Iterations: 20})
//	arrowio.WriteParquet(s, "clusters.parquet", assigned)
//	arrowio.WriteParquet(s, "dead-letters.parquet", dead)
//
// Each package's page says which columns it reads and adds, what it guarantees of its
// results, and what fails. The packages files, compute and tasks are what they share.
package transforms
