package bench

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

//go:embed torch_worker.py
var workerScript []byte

// Packages lists the pip packages that the Python side imports.
const Packages = "torch torchvision lightly pillow onnx onnxscript onnxruntime scikit-learn faiss-cpu"

// worker is the Python process that runs PyTorch's side. It speaks JSON lines over standard input and output: a request
// {"case": KIND, "threads", "budget", ...sizes} prepares a case, {"run": n} runs it n times.
type worker struct {
	python  string
	version string // of PyTorch
	stop    context.CancelFunc
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	log     tail // of standard error
}

// answer is a line of output from the worker.
type answer struct {
	Torch     string  // PyTorch's version, in the first line
	Variant   string  // the fastest one, in the answer to a case
	Note      string  // variants that could not be tried
	Seconds   float64 // of one run, in the answer to a case; of all runs, in the answer to run
	Wait      float64 // the part of Seconds spent waiting for data
	MemoryMiB float64 `json:"memory_mib"`
	Error     string  // the only field set, unless Missing is
	Missing   string  // the package that could not be imported
}

// startTorch starts the worker, or replaces it by a new process if fresh is true.
func (m *meter) startTorch(ctx context.Context, fresh bool) error {
	if m.torch != nil && !fresh {
		return nil
	}
	m.stopTorch()
	script := filepath.Join(m.dir, "torch_worker.py")
	if err := os.WriteFile(script, workerScript, 0o600); err != nil {
		return err
	}
	w, err := startWorker(ctx, m.Python, script)
	if err != nil {
		return err
	}
	m.torch = w
	return nil
}

// stopTorch stops the worker if there is one.
func (m *meter) stopTorch() {
	if m.torch != nil {
		m.torch.close()
		m.torch = nil
	}
}

func startWorker(ctx context.Context, python, script string) (*worker, error) {
	path, err := exec.LookPath(python)
	if err != nil {
		return nil, run.Usagef("--torch %s: %w; give a Python with torch, or run `make bench-torch` to install one",
			python, err)
	}
	ctx, stop := context.WithCancel(ctx)
	w := &worker{python: python, stop: stop, command: exec.CommandContext(ctx, path, script)}
	w.command.Env = append(os.Environ(), "TORCHINDUCTOR_CACHE_DIR="+filepath.Join(filepath.Dir(script), "compiled"))
	if lib := tcmalloc(); lib != "" {
		w.command.Env = append(w.command.Env, "LD_PRELOAD="+lib)
	}
	w.command.Stderr = &w.log
	w.command.WaitDelay = time.Second
	w.in, err = w.command.StdinPipe()
	if err != nil {
		stop()
		return nil, err
	}
	out, err := w.command.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	w.out = bufio.NewReader(out)
	if err := w.command.Start(); err != nil {
		stop()
		return nil, run.Usagef("--torch %s: %w", python, err)
	}
	hello, err := w.read()
	if err != nil {
		w.close()
		return nil, err
	}
	w.version = hello.Torch
	return w, nil
}

// tcmalloc returns the path of the allocator that makes PyTorch faster; empty if it is not installed.
func tcmalloc() string {
	for _, folder := range []string{"/usr/lib/*", "/usr/lib*", "/usr/local/lib"} {
		if found, _ := filepath.Glob(folder + "/libtcmalloc_minimal.so.4"); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// prepare prepares a case and chooses its fastest variant. The case reads its images from files in the folder.
func (w *worker) prepare(b benchmark, o Options, length time.Duration, folder string) (answer, error) {
	request := map[string]any{
		"case": b.kind, "threads": b.threads, "budget": length.Seconds(), "memory": b.memory,
		"compile": o.Compile, "precision": cmp.Or(b.round, ssl.FP32), "folder": folder,
		"device": cmp.Or(o.Device.Name, ssl.CPU),
	}
	maps.Copy(request, b.sizes)
	return w.ask(request)
}

func (w *worker) run(n int) (spent, error) {
	a, err := w.ask(map[string]any{"run": n})
	return spent{a.Seconds, a.Wait}, err
}

// ask sends a request and waits for its answer.
func (w *worker) ask(request map[string]any) (answer, error) {
	line, err := json.Marshal(request)
	if err != nil {
		return answer{}, err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		return answer{}, w.died(err)
	}
	return w.read()
}

func (w *worker) read() (answer, error) {
	line, err := w.out.ReadBytes('\n')
	if err != nil {
		return answer{}, w.died(err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%s wrote %q; want a line of JSON: %w", w.python, line, err)
	}
	switch {
	case a.Missing != "":
		return a, run.Usagef("--torch %s: cannot import %s (%s); install it with `%s -m pip install %s`",
			w.python, a.Missing, a.Error, w.python, Packages)
	case a.Error != "":
		return a, fmt.Errorf("%s: %s", w.python, a.Error)
	}
	return a, nil
}

// died returns the error for a worker that exited unexpectedly.
func (w *worker) died(err error) error {
	w.close() // completes its log
	return fmt.Errorf("%s exited unexpectedly (%w); the last line of its log: %s", w.python, err, w.log.lastLine())
}

// close stops the worker, and kills it if it does not exit by itself. It may be called more than once.
func (w *worker) close() {
	defer w.stop()
	_ = w.in.Close()
	timer := time.AfterFunc(10*time.Second, w.stop)
	defer timer.Stop()
	_ = w.command.Wait() // its exit code no longer matters
}

// tail keeps the end of the text written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4096
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(p), nil
}

// lastLine returns the last line that is not empty.
func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return lines[len(lines)-1]
}
