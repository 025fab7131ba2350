package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzOpenTuning: any bytes in place of a tuning table are an error that names the file, or choices.
func FuzzOpenTuning(f *testing.F) {
	f.Add([]byte(`{"machine conv 3x3": "winograd"}`))
	f.Add([]byte("null"))
	f.Add([]byte(`{"a": 1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "tuning.json")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		table, err := OpenTuning(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Fatal(err)
			}
			return
		}
		choice, err := table.Choose("machine", "conv", func(a string) bool { return a == "x" }, func() (string, error) { return "x", nil })
		if err != nil || choice != "x" {
			t.Fatal(choice, err)
		}
	})
}
