// Package record provides the element type of the transforms of this module: a [Batch], which is one Arrow record, with
// its Beam coder. It converts batches from and to PCollections of Go structs ([FromStructs], [ToStructs]), slices of
// structs ([Of], [Rows], [All]) and gorgonia tensors ([Dense], [FromDense]).
//
// Inputs and outputs. A struct is a row; an exported field with the tag `arrow:"name"` is the column of that name.
//
//	Go                                        Arrow
//	string, bool, int32, int64,               utf8, bool, int32, int64,
//	float32, float64, []byte                  float, double, binary
//	[]float32                                 fixed_size_list<float>, the same length in all rows
//	[]int32, []float64                        list<int32>, list<double>
//
// Columns are not nullable. Reading looks up columns by name and ignores others, so a transform can pass through
// columns it does not know.
//
// Determinism. Equal batches encode to equal bytes ([Encode]). Which rows share a batch is up to the runner, unless a
// transform says otherwise.
//
// Errors. A struct type that cannot be a row panics at pipeline construction. A missing column, a column of another
// type and a null are errors that name the column.
//
// All memory comes from Arrow's Go allocator and is garbage-collected. There is no need to call Retain or Release on a
// Batch. Do not call Release: it would take the buffers away from other holders.
package record
