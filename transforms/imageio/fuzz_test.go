package imageio

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// One target for each format, since one of all would spend its time on those with the most code.

func FuzzJPEG(f *testing.F) { fuzz(f, jpegFormat) }
func FuzzPNG(f *testing.F)  { fuzz(f, pngFormat) }
func FuzzGIF(f *testing.F)  { fuzz(f, gifFormat) }
func FuzzBMP(f *testing.F)  { fuzz(f, bmpFormat) }
func FuzzWebP(f *testing.F) { fuzz(f, webpFormat) }
func FuzzTIFF(f *testing.F) { fuzz(f, tiffFormat) }
func FuzzPNM(f *testing.F)  { fuzz(f, pnmFormat) }

// fuzz fuzzes a format: any bytes yield an error, or pixels that match the size, and never panic.
func fuzz(f *testing.F, of format) {
	type file struct{ Data []byte }
	decode, odd := map[string]file{}, struct{ Files map[string]file }{}
	for name, to := range map[string]any{"decode": &decode, "odd": &odd} {
		text, err := os.ReadFile("testdata/" + name + ".json")
		if err == nil {
			err = json.Unmarshal(text, to)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	seeds := 0
	for _, files := range []map[string]file{decode, odd.Files} {
		for _, im := range files {
			if Format(im.Data) == of.name {
				f.Add(im.Data)
				seeds++
			}
		}
	}
	if seeds < 10 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Format(data) != of.name {
			t.Skip("another format")
		}
		width, height, err := of.size(data)
		if err == nil && (width > 1<<16 || height > 1<<16 || width*height > 1<<16) {
			t.Skip("large images take long")
		}
		m, err := Decode(data)
		if err == nil && (m.Width < 1 || m.Height < 1 || len(m.Pix) != m.Width*m.Height*3) {
			t.Fatalf("%d x %d image of %d bytes", m.Width, m.Height, len(m.Pix))
		}
		if err != nil && (m.Pix != nil || m.Damage != nil || strings.Contains(err.Error(), "panic")) {
			t.Fatalf("%v, %d bytes of pixels, %v", err, len(m.Pix), m.Damage)
		}
	})
}

// FuzzIDX: any bytes yield at most the requested images, each as large as the header says, and never panic.
func FuzzIDX(f *testing.F) {
	header := func(dims ...uint32) (out []byte) {
		out = binary.BigEndian.AppendUint32(nil, 0x803)
		for _, d := range dims {
			out = binary.BigEndian.AppendUint32(out, d)
		}
		return out
	}
	f.Add(append(header(2, 3, 2), make([]byte, 12)...), int64(0), int64(2))
	f.Add(header(1<<31, 1<<31, 1<<31), int64(0), int64(1))
	f.Add(header(9, 1<<20, 100), int64(8), int64(9))
	f.Add([]byte{0, 0, 8, 1, 0, 0, 0, 1, 5}, int64(0), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, begin, end int64) {
		if begin < 0 || end < begin || end > 1<<20 {
			t.Skip("not a range of a split")
		}
		next := begin
		err := scanIDX(bytes.NewReader(data), begin, end, func(row int64, image []byte) error {
			if row != next {
				t.Fatalf("row %d, want %d", row, next)
			}
			next++
			if _, err := Decode(image); err != nil {
				t.Fatal(err)
			}
			return nil
		})
		if err == nil && next != end {
			t.Fatalf("%d images of %d and no error", next-begin, end-begin)
		}
		_, _ = scanLabels(bytes.NewReader(data), begin, min(end, 1<<10), end)
	})
}

// FuzzTar: any bytes yield the requested images or an error, the same for any split into ranges.
func FuzzTar(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range [][2]string{{"a/1.png", "one"}, {"2.cls", "7"}, {"2.jpg", "two"}, {"2.b.jpg", ""}} {
		_ = w.WriteHeader(&tar.Header{Name: m[0], Size: int64(len(m[1])), Typeflag: tar.TypeReg, Mode: 0o644})
		_, _ = w.Write([]byte(m[1]))
	}
	_ = w.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:900])
	f.Add([]byte("not an archive"))
	f.Add(append(bytes.Clone(b.Bytes()), b.Bytes()...))
	f.Add(append(bytes.Clone(b.Bytes()[:1100]), b.Bytes()[512:]...))
	f.Add(bytes.ReplaceAll(b.Bytes(), []byte("2.b.jpg"), []byte("a.b.png")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip("large archives take long")
		}
		var all []Image
		err := scanTar(newTarball(bytes.NewReader(data)), 0, 1<<40, func(im Image) error { all = append(all, im); return nil })
		if err != nil {
			return
		}
		for i, want := range all {
			n := 0
			err := scanTar(newTarball(bytes.NewReader(data)), int64(i), int64(i)+1, func(im Image) error {
				n++
				if im.Source != want.Source || im.Label != want.Label || im.Class != want.Class || !bytes.Equal(im.Data, want.Data) {
					t.Fatalf("image %d is %+v, alone %+v", i, want, im)
				}
				return nil
			})
			if err != nil || n != 1 {
				t.Fatalf("image %d alone: %d images, %v", i, n, err)
			}
		}
	})
}

// FuzzZip: any bytes yield images or an error, the same for any split into ranges.
func FuzzZip(f *testing.F) {
	text, err := os.ReadFile("testdata/zips.json")
	if err != nil {
		f.Fatal(err)
	}
	var archives map[string]struct{ Archive []byte }
	if err := json.Unmarshal(text, &archives); err != nil {
		f.Fatal(err)
	}
	for _, a := range archives {
		f.Add(a.Archive)
		f.Add(append([]byte("junk"), a.Archive...))
		f.Add(append(bytes.Clone(a.Archive), a.Archive...))
		f.Add(a.Archive[:len(a.Archive)*2/3])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		n, err := countZip(t.Context(), Split{Path: path}, &Source{})
		if err != nil || n > 100 {
			return
		}
		var all []Image
		if err := ReadSplit(t.Context(), Split{Path: path, Kind: Zip, End: n}, func(im Image) error { all = append(all, im); return nil }); err != nil {
			t.Fatal(err)
		}
		for i, want := range all {
			if (want.Damage == "") == (want.Data == nil) {
				t.Fatalf("image %d is %+v", i, want)
			}
			err := ReadSplit(t.Context(), Split{Path: path, Kind: Zip, Begin: int64(i), End: int64(i) + 1}, func(im Image) error {
				if !reflect.DeepEqual(im, want) {
					t.Fatalf("image %d is %+v, alone %+v", i, want, im)
				}
				return nil
			})
			if err != nil {
				t.Fatalf("image %d alone: %v", i, err)
			}
		}
	})
}

// FuzzTable: any bytes of a Parquet file yield an error, or as many images as planned, the same for any split into ranges; only
// whether damage is found in a row or its label depends on the rows that it is read with.
func FuzzTable(f *testing.F) {
	text, err := os.ReadFile("testdata/tables.json")
	if err != nil {
		f.Fatal(err)
	}
	var tables map[string]struct{ File []byte }
	if err := json.Unmarshal(text, &tables); err != nil {
		f.Fatal(err)
	}
	for _, table := range tables {
		f.Add(table.File)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.parquet")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		splits, err := Plan(t.Context(), []string{path}, 1<<40)
		if err != nil || splits[0].End > 100 {
			return
		}
		read := func(begin, end int64) (all []Image) {
			err := ReadSplit(t.Context(), Split{Path: path, Kind: Parquet, Begin: begin, End: end}, func(im Image) error { all = append(all, im); return nil })
			if err != nil || int64(len(all)) != end-begin {
				t.Fatalf("%d images of %d: %v", len(all), end-begin, err)
			}
			return all
		}
		for i, want := range read(0, splits[0].End) {
			im := read(int64(i), int64(i)+1)[0]
			damaged, lost := im.Damage != "" || want.Damage != "", im.LabelLost || want.LabelLost
			if !damaged && !(lost && bytes.Equal(im.Data, want.Data)) && !reflect.DeepEqual(im, want) {
				t.Fatalf("image %d is %+v, alone %+v", i, want, im)
			}
		}
	})
}

// FuzzList: any text yields an error, or entries with paths in the order of their lines.
func FuzzList(f *testing.F) {
	text, err := os.ReadFile("testdata/lists.json")
	if err != nil {
		f.Fatal(err)
	}
	var lists []struct {
		Name string
		Text []byte
	}
	if err := json.Unmarshal(text, &lists); err != nil {
		f.Fatal(err)
	}
	for _, l := range lists {
		for extension := range uint(3) {
			f.Add(l.Text, extension)
			f.Add(bytes.ReplaceAll(l.Text, []byte("\n"), []byte("\r\n")), extension)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, extension uint) {
		line, labeled := 0, map[bool]bool{}
		exists := func(image string) bool { return len(image)%2 == 0 }
		_, _ = scanList(bytes.NewReader(data), listKind.suffixes[extension%3], Columns{}, exists, func(e entry) error {
			if e.path == "" && e.damage == nil || e.line <= line || !e.labeled && e.label != "" {
				t.Fatalf("%+v after line %d", e, line)
			}
			line = e.line
			if e.damage == nil {
				labeled[e.labeled] = true
			}
			return nil
		})
		if lines := bytes.Count(data, []byte("\n")) + 1; line > lines || len(labeled) > 1 {
			t.Fatalf("line %d of %d, %v", line, lines, labeled)
		}
	})
}

// FuzzMetadata: any text yields an error, or labels that are a number, names or why there are none.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("file_name,label\na/1.png,3\n\"b,2.png\",cat\n"), true)
	f.Add([]byte("\ufefflabel;file_name\r\n0.5;1.png\r\n"), true)
	f.Add([]byte(`{"file_name": "1.png", "label": 3}`+"\n"+`{"file_name": "2.png", "labels": ["a", "b"]}`), false)
	f.Add([]byte(`{"file_name": "1.png", "label": null, "more": {"x": [true]}}`+"\n\n{"), false)
	f.Fuzz(func(t *testing.T, data []byte, csv bool) {
		scan, m := scanJSONMetadata, newMetadataTable("")
		if csv {
			scan = scanMetadata
		}
		_ = scan(bytes.NewReader(data), "", m)
		for name, im := range m.images {
			if im.Label < -1 || im.LabelError != "" && (im.Label >= 0 || im.Class != "") {
				t.Fatalf("%s: %+v", name, im)
			}
			if found, ok := m.find(name); !ok || found != im {
				t.Fatalf("%s is %+v", name, found)
			}
		}
		rows := len(m.images) + m.damaged.n + m.contradicting.n
		if lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + 1; rows > lines {
			t.Fatalf("%d rows of %d lines", rows, lines)
		}
	})
}
