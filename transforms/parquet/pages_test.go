package parquet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// Compressed pages that promise or hold more than their header says are an error before memory is taken for them.
func TestVerify(t *testing.T) {
	const size = 100_000
	plain := make([]byte, size)
	frames, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	frame := frames.EncodeAll(plain, nil)
	var streamed bytes.Buffer // does not say how long it is
	w, err := zstd.NewWriter(&streamed)
	require.NoError(t, err)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	require.NoError(t, w.Close())
	var header zstd.Header
	require.NoError(t, header.Decode(streamed.Bytes()))
	require.False(t, header.HasFCS)
	huge := slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, binary.LittleEndian.AppendUint64(nil, 60<<30), []byte{1, 0, 0}) // of one empty block
	packed := snappy.Encode(nil, plain)
	for name, c := range map[string]struct {
		codec   compress.Compression
		data    []byte
		most    int
		problem string
	}{
		"snappy":            {compress.Codecs.Snappy, packed, size, ""},
		"snappy, promise":   {compress.Codecs.Snappy, append(binary.AppendUvarint(nil, 1<<32-1), packed[3:]...), size, "a page of 100000 bytes that unpacks to 4294967295"},
		"zstd":              {compress.Codecs.Zstd, frame, size, ""},
		"zstd, more":        {compress.Codecs.Zstd, frame, size - 1, "a page of 99999 bytes that unpacks to 100000"},
		"zstd, promise":     {compress.Codecs.Zstd, huge, size, "a page of 100000 bytes that unpacks to 64424509440"},
		"zstd, two frames":  {compress.Codecs.Zstd, slices.Concat(frame, frame), size, "a page of 100000 bytes that unpacks to 100001"},
		"zstd, second":      {compress.Codecs.Zstd, slices.Concat(frame, huge), 2 * size, "decompressed size exceeds configured limit"},
		"zstd stream":       {compress.Codecs.Zstd, streamed.Bytes(), size, ""},
		"zstd stream, more": {compress.Codecs.Zstd, streamed.Bytes(), size - 1, "a page of 99999 bytes that unpacks to 100000"},
	} {
		t.Run(name, func(t *testing.T) {
			err := verify(c.codec, c.data, c.most)
			if c.problem == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.problem)
			}
		})
	}
}
