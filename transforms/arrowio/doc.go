// Package arrowio reads and writes Arrow IPC files and Parquet files on any
// Beam filesystem, as plain functions and as Beam transforms over
// [batch.Batch] elements.
//
// Paths without a scheme are local files; others (gs://, s3://, memfs://) go
// to the filesystem registered for the scheme, which the program must import,
// as it must import .../io/filesystem/local for the transforms on local paths.
//
// A file appears under its name only when it is complete: local files are
// written beside it, synced and renamed; object stores publish on Close.
package arrowio
