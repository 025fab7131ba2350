package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// make chaos repeats the tests below often, each time at other moments and with other damage.
var (
	chaos     = flag.Int("chaos", 2, "how many runs TestKilled and TestDamaged each kill")
	chaosSeed = flag.Uint64("chaos-seed", uint64(time.Now().UnixNano()), "seed of what they do and when")
)

// chaosRun is a run of all stages.
func chaosRun(out string, more ...string) []string {
	return quickRun(out, append(more, "--tasks", filepath.Join(filepath.Dir(out), "tasks"), "--set", "train.checkpoint_seconds=0.05")...)
}

// outcome reads what a run is for: the models, delivered ones and the table.
func outcome(t *testing.T, run string) map[string][]byte {
	t.Helper()
	found := weights(t, run)
	require.NoError(t, filepath.WalkDir(filepath.Join(run, "routed"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "model.safetensors" {
			found[path[len(run):]], err = os.ReadFile(path)
		}
		return err
	}))
	table, err := os.ReadFile(filepath.Join(run, "results.json"))
	require.NoError(t, err)
	found["results.json"] = table
	return found
}

// chaosTrial is a run that was killed at a random moment.
type chaosTrial struct {
	number int
	dir    string
	random *rand.Rand
}

// eachTrial kills runs at random moments, and compares what they leave in the end with that of a run left alone. goOn
// brings a killed one to its end and says what it did.
func eachTrial(t *testing.T, goOn func(t *testing.T, trial chaosTrial) string) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "tasks", "fruit"), os.DirFS(folder)))
	whole := filepath.Join(dir, "whole")
	start := time.Now()
	mustSDR(t, chaosRun(whole)...)
	took := time.Since(start)
	want := outcome(t, whole)
	t.Logf("-chaos-seed %d", *chaosSeed)
	for i := range *chaos {
		trial := chaosTrial{i, filepath.Join(dir, fmt.Sprint(i)), rand.New(rand.NewPCG(*chaosSeed, uint64(i)))}
		signal := []os.Signal{syscall.SIGKILL, syscall.SIGINT}[trial.random.IntN(2)]
		var log bytes.Buffer
		var at time.Duration
		for ended := true; ended; {
			require.NoError(t, os.RemoveAll(trial.dir))
			log.Reset()
			at = time.Duration(trial.random.Float64() * float64(took))
			c := program(t, chaosRun(trial.dir, "--resume")...)
			c.Stderr = &log
			start := time.Now()
			require.NoError(t, c.Start())
			hit := time.AfterFunc(at, func() { _ = c.Process.Signal(signal) })
			_ = c.Wait()
			if ended = hit.Stop(); ended { // the first run had to warm up
				took = time.Since(start)
			}
		}
		stage := "no stage"
		if all := regexp.MustCompile(`stage starts" stage=(\S+)`).FindAllStringSubmatch(log.String(), -1); len(all) > 0 {
			stage = all[len(all)-1][1]
		}
		did := goOn(t, trial)
		sameWeights(t, want, outcome(t, trial.dir))
		t.Logf("trial %d: %v after %v, in %s; %s", i, signal, at.Round(time.Millisecond), stage, did)
		require.NoError(t, os.RemoveAll(trial.dir))
	}
}

// TestKilled checks that a run that is killed or interrupted, once or twice, resumes to the same result.
func TestKilled(t *testing.T) {
	eachTrial(t, func(t *testing.T, trial chaosTrial) string {
		again := trial.random.IntN(2) == 0
		if again {
			c := program(t, chaosRun(trial.dir, "--resume")...)
			require.NoError(t, c.Start())
			time.Sleep(time.Duration(trial.random.IntN(2000)) * time.Millisecond)
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		mustSDR(t, chaosRun(trial.dir, "--resume")...)
		return fmt.Sprintf("killed again: %v", again)
	})
}

// TestDamaged damages a file of a killed run: the run resumes to the same result, or an error names the file, and what it
// says leads there.
func TestDamaged(t *testing.T) {
	remove := regexp.MustCompile(`remove (?:it|the folder (\S+?)),? `)
	eachTrial(t, func(t *testing.T, trial chaosTrial) string {
		var paths []string
		_ = filepath.WalkDir(trial.dir, func(path string, d fs.DirEntry, err error) error { // it may have ended before it wrote any
			if err == nil && d.Type().IsRegular() {
				paths = append(paths, path)
			}
			return err
		})
		if len(paths) == 0 {
			mustSDR(t, chaosRun(trial.dir, "--resume")...)
			return "nothing to damage"
		}
		path := paths[trial.random.IntN(len(paths))]
		kind := damage(t, path, trial.random)
		did := fmt.Sprintf("%s %s", kind, path[len(trial.dir)+1:])
		args := chaosRun(trial.dir, "--resume")
		for range 3 {
			_, log, code := sdr(t, args...)
			if code == 0 {
				return did
			}
			require.Contains(t, log, path, did)
			lines := strings.Split(strings.TrimSpace(log), "\n")
			did += "; " + strings.ReplaceAll(lines[len(lines)-1], trial.dir, "RUN")
			switch m := remove.FindStringSubmatch(log + " "); {
			case m != nil && m[1] != "":
				require.NoError(t, os.RemoveAll(m[1]))
			case m != nil:
				require.NoError(t, os.Remove(path))
			default:
				require.Contains(t, log, "--overwrite", did)
				args[slices.Index(args, "--resume")] = "--overwrite"
			}
		}
		t.Fatalf("still not: %s", did)
		return ""
	})
}

// damage removes a file, empties it, cuts it or flips a bit of it.
func damage(t *testing.T, path string, random *rand.Rand) (kind string) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	switch kind = []string{"removed", "emptied", "cut", "flipped a bit of"}[random.IntN(4)]; {
	case kind == "removed" || len(data) == 0:
		require.NoError(t, os.Remove(path))
		return "removed"
	case kind == "emptied":
		data = nil
	case kind == "cut":
		data = data[:random.IntN(len(data))]
	default:
		data[random.IntN(len(data))] ^= 1 << random.IntN(8)
	}
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return kind
}
