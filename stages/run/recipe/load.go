package recipe

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed recipes/*.yaml
var builtin embed.FS

// Default is the recipe that all others override; it has every key.
const Default = "default"

// Names lists the built-in recipes.
func Names() []string {
	entries, err := fs.ReadDir(builtin, "recipes")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Load reads a built-in recipe by name, or a YAML file. Its keys override the default recipe, the key=value settings in
// set override both, and the result is validated.
func Load(nameOrFile string, set []string) (*Recipe, error) {
	text, err := readText(nameOrFile)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", nameOrFile, err)
	}
	r, err := overDefault(text)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", nameOrFile, err)
	}
	if err := r.setAll(set); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("recipe %s: %w", nameOrFile, err)
	}
	return r, nil
}

// Parse reads and validates a recipe written by Marshal.
func Parse(data []byte) (*Recipe, error) {
	r, err := overDefault(data)
	if err == nil {
		r.SSL.resolve()
		err = r.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return r, nil
}

// Set returns a copy of the recipe, overridden by key=value settings and validated.
func (r *Recipe) Set(settings []string) (*Recipe, error) {
	c, err := overDefault(r.Marshal())
	if err != nil {
		return nil, err
	}
	if err := c.setAll(settings); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// With returns a copy of the recipe, overridden by parsed YAML and validated.
func (r *Recipe) With(keys map[string]any) (*Recipe, error) {
	c, err := overDefault(r.Marshal())
	if err != nil {
		return nil, err
	}
	if err := c.overlay(keys); err != nil {
		return nil, err
	}
	c.SSL.resolve()
	return c, c.Validate()
}

// Marshal returns the recipe as YAML, with every key.
func (r *Recipe) Marshal() []byte {
	data, err := yaml.Marshal(r)
	if err != nil {
		panic(err) // a Recipe holds only plain values
	}
	return data
}

func readText(nameOrFile string) ([]byte, error) {
	if slices.Contains(Names(), nameOrFile) {
		return builtin.ReadFile(path.Join("recipes", nameOrFile+".yaml"))
	}
	text, err := os.ReadFile(nameOrFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("neither a built-in recipe (%s) nor a file", strings.Join(Names(), ", "))
	}
	return text, err
}

// overDefault returns the default recipe, overridden by the keys of a YAML text.
func overDefault(text []byte) (*Recipe, error) {
	r := new(Recipe)
	defaults, err := readText(Default)
	if err != nil {
		return nil, err
	}
	for _, text := range [][]byte{defaults, text} {
		var keys map[string]any
		if err := Unmarshal(text, &keys); err != nil {
			return nil, err
		}
		if err := r.overlay(keys); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// setAll applies key=value settings.
func (r *Recipe) setAll(settings []string) error {
	for _, setting := range settings {
		if err := r.set(setting); err != nil {
			return fmt.Errorf("setting %s: %w", setting, err)
		}
	}
	r.SSL.resolve()
	return nil
}

// set applies one key=value setting, whose value is YAML.
func (r *Recipe) set(setting string) error {
	key, text, ok := strings.Cut(setting, "=")
	if !ok {
		return errors.New("want key=value, such as train.lr=0.06")
	}
	var value any
	if err := Unmarshal([]byte(text), &value); err != nil {
		return fmt.Errorf("%s is not YAML: %w", show(text), err)
	}
	parts := strings.Split(key, ".")
	for _, p := range slices.Backward(parts) {
		value = map[string]any{p: value}
	}
	return r.overlay(value.(map[string]any))
}

// Unmarshal reads YAML; its errors are single lines.
func Unmarshal(text []byte, into any) error {
	err := yaml.Unmarshal(text, into)
	if located := yaml.Error(nil); errors.As(err, &located) {
		return fmt.Errorf("line %d: %s", located.GetToken().Position.Line, located.GetMessage())
	}
	return err
}
