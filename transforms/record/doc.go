// Package record holds the element that travels between the transforms of this
// module: a [Batch], which is one Arrow record, with its Beam coder and the
// conversions from and to PCollections of Go structs ([FromStructs], [ToStructs]),
// slices of them ([Of], [Rows], [All]) and gorgonia tensors ([Dense], [FromDense]).
//
// Inputs and outputs. A struct is a row: an exported field with the tag
// `arrow:"name"` is the column of that name.
//
//	Go                                        Arrow
//	string, bool, int32, int64,               utf8, bool, int32, int64,
//	float32, float64, []byte                  float, double, binary
//	[]float32                                 fixed_size_list<float>, equally long in all rows
//
// Columns are not null. Reading looks columns up by name and leaves others out, so
// a transform can carry along what it does not know.
//
// Determinism. Equal batches have equal bytes ([Encode]). Which rows share a batch
// is up to the runner, unless a transform says otherwise.
//
// Errors. Structs that can never be a row panic where the pipeline is built; a
// missing column, a column of another type and a null are errors that name the
// column.
//
// All memory comes from Arrow's Go allocator and belongs to the garbage
// collector. Nobody needs to call Retain or Release on a Batch, and nobody
// should call Release: it would take the buffers away from other holders.
package record
