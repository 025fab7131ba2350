// Package arrowio reads and writes Parquet and Arrow IPC files on any Beam filesystem, as Beam transforms over
// [record.Batch] elements and as plain functions ([LoadParquet], [SaveParquet], [OpenFile], [WriteFile], [Each]).
//
//   - [ReadParquet] and [ReadIPC] read the files that match a glob into a PCollection<*record.Batch>.
//   - [WriteParquet] and [WriteIPC] write a PCollection<*record.Batch> to one file.
//   - [WriteDir] writes a PCollection<*record.Batch> to a folder, one file per batch.
//
// Inputs and outputs. Batches have any schema that Arrow's Parquet and IPC writers accept; the batches of a file have
// the same schema. In Parquet files without an Arrow schema, columns of vectors have the type list<float32>, which
// [record.Dense] and [record.Rows] take as well.
//
// Determinism. The same batches produce the same bytes on every runner, whatever the order in which they arrive. A
// PCollection that is read has no order.
//
// Errors. A damaged or missing file, a glob without a match, and batches with different schemas fail the pipeline with
// the path.
//
// Files are written atomically, as in [files.Write]. Paths without a scheme are local; for others (gs://, s3://,
// memfs://), the program must import the filesystem that is registered for the scheme.
package arrowio
