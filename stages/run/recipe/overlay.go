package recipe

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Keys lists every key of a recipe in order of declaration.
func Keys() []string { return keysOf(reflect.TypeFor[Recipe]()) }

// keysOf lists every key of a struct and of the structs in it.
func keysOf(t reflect.Type) []string {
	var list func(t reflect.Type, prefix string) []string
	list = func(t reflect.Type, prefix string) (keys []string) {
		for i := range t.NumField() {
			switch f := t.Field(i); {
			case f.Type == settingsType:
				for _, key := range settingKeys() {
					keys = append(keys, prefix+key)
				}
			case f.Type.Kind() == reflect.Struct && f.Type != viewsType:
				keys = append(keys, list(f.Type, prefix+keyOf(f)+".")...)
			default:
				keys = append(keys, prefix+keyOf(f))
			}
		}
		return keys
	}
	return list(t, "")
}

// settingsType is the type of a field whose entries are keys of the section that contains it.
var settingsType = reflect.TypeFor[ssl.Values]()

// keyOf returns a field's key: its yaml tag or, as is usual for YAML packages, its lowercase name.
func keyOf(f reflect.StructField) string {
	if tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); tag != "" {
		return tag
	}
	return strings.ToLower(f.Name)
}

// togetherType is the type of a list for which a single number may stand.
var togetherType = reflect.TypeFor[Together]()

// fieldOf returns the field of a key, or an invalid Value if there is none.
func fieldOf(section reflect.Value, key string) (field reflect.Value) {
	for f, v := range section.Fields() {
		if keyOf(f) == key || f.Type == settingsType && slices.Contains(settingKeys(), key) {
			field = v
		}
	}
	return field
}

// Overlay sets the fields of a struct, whose yaml tags are its keys, from parsed YAML. An unknown key is an error that
// suggests the nearest known one.
func Overlay(into any, keys map[string]any) error {
	section := reflect.ValueOf(into).Elem()
	return overlay(section, keys, "", keysOf(section.Type()))
}

// overlay sets the recipe's fields.
func (r *Recipe) overlay(keys map[string]any) error {
	return overlay(reflect.ValueOf(r).Elem(), keys, "", slices.Concat(Keys(), viewKeys()))
}

// overlay sets the fields of a section whose keys begin with prefix; known are the keys to suggest.
func overlay(section reflect.Value, keys map[string]any, prefix string, known []string) error {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		full, value := prefix+key, keys[key]
		below, isMap := value.(map[string]any)
		field := fieldOf(section, key)
		switch {
		case field.IsValid() && field.Type() == viewsType:
			if err := field.Addr().Interface().(*Views).overlay(value, full); err != nil {
				return err
			}
		case field.IsValid() && field.Type() == settingsType:
			var number float64
			if err := assign(reflect.ValueOf(&number).Elem(), value); err != nil {
				return fmt.Errorf("%s: %s is %w", full, show(value), err)
			}
			if field.IsNil() {
				field.Set(reflect.MakeMap(settingsType))
			}
			field.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(number))
		case moved[full] != "":
			return fmt.Errorf("%s: %s is now %s", full, show(value), fmt.Sprintf(moved[full], show(value)))
		case !field.IsValid() && len(below) == 0:
			return unknownKey(full, known)
		case !field.IsValid(), field.Kind() != reflect.Struct && field.Kind() != reflect.Map && len(below) > 0:
			return unknownKey(full+"."+slices.Sorted(maps.Keys(below))[0], known)
		case field.Kind() == reflect.Struct && isMap:
			if err := overlay(field, below, full+".", known); err != nil {
				return err
			}
		case field.Kind() == reflect.Struct && value == nil: // a section with all keys commented out
		case field.Kind() == reflect.Struct:
			return fmt.Errorf("%s is a section; set one of its keys, such as %s.%s", full, full, keyOf(field.Type().Field(0)))
		default:
			if err := assign(field, value); err != nil {
				return fmt.Errorf("%s: %s is %w", full, show(value), err)
			}
		}
	}
	return nil
}

// assign sets a field to a value. Its error completes the sentence "the value is ...".
func assign(field reflect.Value, value any) error {
	switch field.Kind() {
	case reflect.String:
		text, ok := value.(string)
		if !ok {
			return errors.New("not text; put it in quotes")
		}
		field.SetString(text)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(whole(value), 10, 64)
		if err != nil || field.OverflowInt(n) {
			return errors.New("not a whole number")
		}
		field.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(whole(value), 10, 64)
		if err != nil {
			return errors.New("not a whole number of at least 0")
		}
		field.SetUint(n)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(fmt.Sprint(value), field.Type().Bits())
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return errors.New("not a number")
		}
		field.SetFloat(x)
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return errors.New("neither true nor false")
		}
		field.SetBool(b)
	case reflect.Array, reflect.Slice:
		return assignList(field, value)
	case reflect.Map:
		return assignMap(field, value)
	default:
		panic(fmt.Sprintf("recipe: a key of type %v", field.Type())) // a bug in the struct Recipe
	}
	return nil
}

func assignList(field reflect.Value, value any) error {
	list, ok := value.([]any)
	if field.Type() == togetherType && !ok {
		list, ok = []any{value}, true
	}
	if !ok {
		return errors.New("not a list, such as [a, b]")
	}
	if field.Kind() == reflect.Slice {
		field.Set(reflect.MakeSlice(field.Type(), len(list), len(list)))
	}
	if len(list) != field.Len() {
		return fmt.Errorf("a list of %d; want %d", len(list), field.Len())
	}
	for i, v := range list {
		if err := assign(field.Index(i), v); err != nil {
			return fmt.Errorf("a list in which %s is %w", show(v), err)
		}
	}
	return nil
}

// assignMap sets a map from names.
func assignMap(field reflect.Value, value any) error {
	all, ok := value.(map[string]any)
	if !ok {
		return errors.New("not a mapping, such as {name: value}")
	}
	field.Set(reflect.MakeMap(field.Type()))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v := reflect.New(field.Type().Elem()).Elem()
		if err := assign(v, all[name]); err != nil {
			return fmt.Errorf("a mapping in which %s is %w", show(all[name]), err)
		}
		field.SetMapIndex(reflect.ValueOf(name), v)
	}
	return nil
}

// whole formats a whole number without exponent, such as 1e6 as 1000000. Anything else stays unchanged.
func whole(value any) string {
	text := fmt.Sprint(value)
	if x, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, ".eE") && x == math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return text
}

// show formats a value on one line.
func show(value any) string {
	text, err := json.Marshal(value)
	if err != nil { // NaN
		return fmt.Sprint(value)
	}
	return string(text)
}

func unknownKey(key string, known []string) error {
	last := func(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
	distance := func(k string) int {
		if last(k) == last(key) || strings.HasPrefix(key, k+".") {
			return 0 // in the wrong section or in none, or a key used as a section
		}
		return min(levenshtein.ComputeDistance(key, k), 1+levenshtein.ComputeDistance(last(key), last(k)))
	}
	compare := func(a, b string) int {
		return cmp.Or(distance(a)-distance(b), levenshtein.ComputeDistance(key, a)-levenshtein.ComputeDistance(key, b))
	}
	nearest := slices.MinFunc(known, compare)
	var all []string // that are as near: lr may be one of two sections
	for _, k := range known {
		if compare(k, nearest) == 0 {
			all = append(all, strconv.Quote(k))
		}
	}
	return fmt.Errorf("there is no key %q; did you mean %s?", key, strings.Join(all, " or "))
}
