package recipe

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/tensorops/augment"
)

// Views lists the operations that make the two views of an image. A recipe gives one list for both views, or two lists:
//
//	views:
//	  - random_resized_crop: {scale: [0.2, 1]}
//	  - grayscale
//
//	views:
//	  first: [...]
//	  second: [...]
//
// Parameters that are not given have the operation's defaults. Instead of a list, {OPERATION: {PARAMETER: value}}
// changes parameters of operations in the existing lists.
type Views struct{ First, Second []augment.Operation }

// MarshalYAML writes a single list if both views have the same operations.
func (v Views) MarshalYAML() (any, error) {
	list := func(operations []augment.Operation) []map[string]augment.Operation {
		named := make([]map[string]augment.Operation, len(operations))
		for i, o := range operations {
			named[i] = map[string]augment.Operation{o.Name(): o}
		}
		return named
	}
	if reflect.DeepEqual(v.First, v.Second) {
		return list(v.First), nil
	}
	return yaml.MapSlice{{Key: "first", Value: list(v.First)}, {Key: "second", Value: list(v.Second)}}, nil
}

// Operations lists every operation with its default parameters, as YAML.
func Operations() []string {
	var lines []string
	for _, o := range augment.Defaults() {
		text := flow(map[string]any{o.Name(): o})
		lines = append(lines, text[1:len(text)-1]) // without the outer braces
	}
	return lines
}

// moved maps keys of older recipes to what replaces them; %[1]s is the value.
var moved = map[string]string{
	"input.blur":      "views: {gaussian_blur: {p: %[1]s}}, or for short views.gaussian_blur.p=%[1]s",
	"input.scale_min": "views: {random_resized_crop: {scale: [%[1]s, 1]}}, or for short views.random_resized_crop.scale=[%[1]s,1]",
}

var viewsType = reflect.TypeFor[Views]()

// viewKeys lists the keys of all parameters of all operations.
func viewKeys() (keys []string) {
	for _, o := range augment.Defaults() {
		for _, setting := range settingsOf(o) {
			keys = append(keys, "views."+o.Name()+"."+setting)
		}
	}
	return keys
}

// overlay sets the views from the parsed YAML value of the key.
func (v *Views) overlay(value any, key string) error {
	keys, _ := value.(map[string]any)
	_, first := keys["first"]
	_, second := keys["second"]
	if !first && !second {
		return overlayLists(value, key, &v.First, &v.Second)
	}
	lists := map[string]*[]augment.Operation{"first": &v.First, "second": &v.Second}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if lists[name] == nil {
			return fmt.Errorf("%s: %s cannot be combined with first or second; put it inside them", key, name)
		}
		if err := overlayLists(keys[name], key+"."+name, lists[name]); err != nil {
			return err
		}
	}
	return nil
}

// overlayLists replaces lists of operations, or changes parameters of the operations in them.
func overlayLists(value any, key string, lists ...*[]augment.Operation) error {
	switch value := value.(type) {
	case nil: // all commented out
	case []any:
		operations, err := parseOperations(value, key)
		if err != nil {
			return err
		}
		for _, l := range lists {
			*l = slices.Clone(operations)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if err := change(name, value[name], key, lists); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s: %s is not a list of operations, such as [random_resized_crop, horizontal_flip: {p: 0.5}]", key, show(value))
	}
	return nil
}

// parseOperations reads a list of operation names, with or without parameters.
func parseOperations(list []any, key string) ([]augment.Operation, error) {
	operations := make([]augment.Operation, len(list))
	for i, v := range list {
		named, isMap := v.(map[string]any)
		if name, ok := v.(string); ok {
			named = map[string]any{name: nil}
		} else if !isMap || len(named) != 1 {
			return nil, fmt.Errorf("%s: %s is not one operation, such as horizontal_flip: {p: 0.5}", key, show(v))
		}
		for name, settings := range named {
			o, err := defaultOperation(name, key)
			if err == nil {
				operations[i], err = configure(o, settings, key)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return operations, nil
}

// change sets parameters of all operations with the given name.
func change(name string, settings any, key string, lists []*[]augment.Operation) error {
	if _, err := defaultOperation(name, key, "first", "second"); err != nil {
		return err
	}
	found := false
	for _, l := range lists {
		for i, o := range *l {
			if o.Name() != name {
				continue
			}
			found = true
			var err error
			if (*l)[i], err = configure(o, settings, key); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("%s: the list has no %s to change; give the whole list, such as [random_resized_crop, %s]", key, name, name)
	}
	return nil
}

// defaultOperation returns an operation with its default parameters. If the name is unknown, the error suggests the
// nearest of all operations and others.
func defaultOperation(name, key string, others ...string) (augment.Operation, error) {
	for _, o := range augment.Defaults() {
		if o.Name() == name {
			return o, nil
		}
		others = append(others, o.Name())
	}
	return nil, misspelled(key, name, others)
}

// configure returns the operation with some of its parameters changed.
func configure(o augment.Operation, value any, key string) (augment.Operation, error) {
	key += "." + o.Name()
	settings, isMap := value.(map[string]any)
	if !isMap && value != nil {
		return nil, fmt.Errorf("%s: %s is not a mapping, such as {%s}", key, show(value), strings.Join(settingsOf(o), ": ..., ")+": ...")
	}
	changed := reflect.New(reflect.TypeOf(o)).Elem()
	changed.Set(reflect.ValueOf(o))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		field := fieldOf(changed, name)
		if !field.IsValid() {
			return nil, misspelled(key, name, settingsOf(o))
		}
		if err := assign(field, settings[name]); err != nil {
			return nil, fmt.Errorf("%s.%s: %s is %w", key, name, show(settings[name]), err)
		}
	}
	return changed.Interface().(augment.Operation), nil
}

func settingsOf(o augment.Operation) (keys []string) {
	for f := range reflect.TypeOf(o).Fields() {
		keys = append(keys, keyOf(f))
	}
	return keys
}

// misspelled returns an error that suggests the known name nearest to name.
func misspelled(key, name string, known []string) error {
	nearest := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
	return fmt.Errorf("there is no key %q; did you mean %q?", key+"."+name, key+"."+nearest)
}

// validate returns an error for the first invalid setting, saying what is valid.
func (v Views) validate(in Input) error {
	lists := map[string][]augment.Operation{"views.first": v.First, "views.second": v.Second}
	if reflect.DeepEqual(v.First, v.Second) {
		lists = map[string][]augment.Operation{"views": v.First}
	}
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		if err := augment.Validate(lists[key]); err != nil {
			return fmt.Errorf("%s.%w", key, err)
		}
		if !augment.Resizes(lists[key]) && in.Size != in.Crop {
			return fmt.Errorf("%s: no operation makes views of %d px (input.crop) from images of %d px (input.size); "+
				"add random_resized_crop, or make the sizes equal", key, in.Crop, in.Size)
		}
	}
	return nil
}
