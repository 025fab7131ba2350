// Package arrowio reads and writes Parquet and Arrow IPC files on any Beam
// filesystem: as Beam transforms over [record.Batch] elements, and as plain
// functions ([LoadParquet], [SaveParquet], [OpenFile], [WriteFile], [Each]).
//
//   - [ReadParquet], [ReadIPC]: the files of a glob to a PCollection<*record.Batch>;
//   - [WriteParquet], [WriteIPC]: a PCollection<*record.Batch> to one file;
//   - [WriteDir]: a PCollection<*record.Batch> to a folder, a file a batch.
//
// Inputs and outputs. Batches of any schema that Arrow's Parquet and IPC writers
// take; those of one file have one schema. Columns of vectors that no Arrow schema
// describes come from Parquet as list<float32>, which [record.Dense] and
// [record.Rows] take as well.
//
// Determinism. The same batches give the same bytes, whatever the runner and the
// order in which they arrive. Elements that are read have no order.
//
// Errors. A file that is damaged or missing, a glob without a match and batches of
// different schemas fail the pipeline with the path. Files must come from a
// trusted source: Arrow's readers believe the lengths in them.
//
// A file appears under its name only when it is complete: local files are written
// beside it, synced and renamed; object stores publish on Close. Paths without a
// scheme are local; others (gs://, s3://, memfs://) go to the filesystem
// registered for the scheme, which the program must import.
package arrowio
