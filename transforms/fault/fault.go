// Package fault preserves the identity of errors across a runner, which passes on only their text: a code in the text
// stands for an error that errors.Is can find.
//
//	var ErrTooManyBad = fault.New("too-many-bad-images")
//	...
//	return fmt.Errorf("ingest: %d images cannot be read [%w]", n, ErrTooManyBad) // in a DoFn
//	...
//	_, err := beam.Run(ctx, runner, p)
//	errors.Is(fault.Parse(err), ErrTooManyBad)
package fault

import "strings"

// code is an error that is identified by its text.
type code string

func (c code) Error() string { return string(c) }

var codes []code

// New returns an error whose text is a code: lowercase words joined by hyphens, which must not appear in brackets in
// any other error text. Use it for package variables.
func New(text string) error {
	codes = append(codes, code(text))
	return code(text)
}

// parsed is an error returned by a runner.
type parsed struct {
	text  string
	codes []error
}

func (e *parsed) Error() string { return e.text }

func (e *parsed) Unwrap() []error { return e.codes }

// Parse converts an error returned by a runner, so that errors.Is finds the errors whose codes appear in brackets in
// its text. It strips the codes, and the execution plan that Beam puts before a DoFn's error.
func Parse(err error) error {
	e := &parsed{text: err.Error()}
	for _, c := range codes {
		if without := strings.ReplaceAll(e.text, " ["+string(c)+"]", ""); without != e.text {
			e.text, e.codes = without, append(e.codes, c)
		}
	}
	const mark = "] failed:"
	if at := strings.LastIndex(e.text, mark); at >= 0 && strings.Contains(e.text[:at], "DoFn[") {
		e.text = strings.TrimSpace(e.text[at+len(mark):])
	}
	return e
}
