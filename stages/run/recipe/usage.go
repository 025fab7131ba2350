package recipe

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// explanations are the comments of the default recipe by key: the one that ends its line, and those above it.
var explanations = func() map[string]explanation {
	text, err := readText(Default)
	if err != nil {
		panic(err) // it is compiled in
	}
	all := map[string]explanation{}
	var path, above []string
	for line := range strings.Lines(string(text)) {
		bare := strings.TrimSpace(line)
		key, rest, isKey := strings.Cut(bare, ":")
		switch {
		case strings.HasPrefix(bare, "#"):
			above = append(above, bare)
		case isKey && !strings.HasPrefix(bare, "-"):
			depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
			path = append(path[:depth], key)
			_, comment, _ := strings.Cut(rest, "  # ")
			all[strings.Join(path, ".")] = explanation{comment, above}
			above = nil
		}
	}
	return all
}()

type explanation struct {
	line  string
	above []string
}

// Usage explains a key, such as train.lr, in one line. Of a setting of methods, which explain it themselves, it says whose it
// is.
func Usage(key string) string {
	switch key {
	case "backbone.arch":
		return "one of " + strings.Join(nn.Architectures(), ", ")
	case "ssl.method":
		return "one of " + strings.Join(ssl.Methods(), ", ")
	case "views":
		return "operations that make a view, or those of first and second"
	}
	if line := explanations[key].line; line != "" {
		return line
	}
	var owners []string
	for _, method := range ssl.Methods() {
		if settingUsage(key, method) != "" {
			owners = append(owners, method)
		}
	}
	return "setting of " + strings.Join(owners, ", ")
}

// settingUsage is a method's explanation of a key; empty if it has no such setting.
func settingUsage(key, method string) string {
	for _, s := range ssl.Lookup(method).Settings() {
		if key == "ssl."+s.Name {
			return s.Usage
		}
	}
	return ""
}

// Commented returns the recipe as YAML with every key, each explained, to be edited.
func (r *Recipe) Commented() []byte {
	var keys yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(r.Marshal(), &keys, yaml.UseOrderedMap()); err != nil {
		panic(err) // it has just been written
	}
	var b bytes.Buffer
	r.comment(&b, keys, "")
	return b.Bytes()
}

// comment writes the keys of a section, which all begin with prefix.
func (r *Recipe) comment(b *bytes.Buffer, keys yaml.MapSlice, prefix string) {
	indent := strings.Repeat("  ", strings.Count(prefix, "."))
	for _, item := range keys {
		key := prefix + fmt.Sprint(item.Key)
		if key == "views" {
			for _, line := range explanations[key].above {
				fmt.Fprintf(b, "%s%s\n", indent, line)
			}
		}
		fmt.Fprintf(b, "%s%v:", indent, item.Key)
		list, _ := item.Value.([]any)
		section, isSection := item.Value.(yaml.MapSlice)
		switch {
		case isSection:
			b.WriteByte('\n')
			r.comment(b, section, key+".")
		case slices.Contains([]string{"views", "views.first", "views.second"}, key):
			b.WriteByte('\n')
			for _, operation := range list {
				text := flow(operation)
				fmt.Fprintf(b, "%s  - %s\n", indent, text[1:len(text)-1]) // without the outer braces
			}
		default:
			fmt.Fprintf(b, " %s  # %s\n", flow(item.Value), cmp.Or(settingUsage(key, r.SSL.Method), Usage(key)))
		}
	}
}

// flow returns a value as YAML on one line.
func flow(value any) string {
	line, err := yaml.MarshalWithOptions(value, yaml.Flow(true))
	if err != nil {
		panic(err) // settings are plain values
	}
	return strings.TrimSpace(string(line))
}
