package tiff

import (
	"errors"
	"io"
	"strings"
)

// fax decodes bilevel pixels in the compressions of fax machines: ITU-T T.4 (group 3, with rows of one or two
// dimensions), TIFF's variant of it without marks between rows, and T.6 (group 4). Like libtiff, it goes on with the next
// row after a wrong code.
type fax struct {
	data        []byte
	at, end     int // the next bit, and the last one, which moves on as zeros are read in place of bits behind the end
	compression int
	mixed       bool // whether group 3 has rows of two dimensions, too
	width       int
	above       []int // runs of the row above, and behind them what is left of rows before, which libtiff reads after damage
	row         faxRow
	marked      bool // whether the last row ended with a mark in place of a code
	rows        int
	ended       bool   // whether the data end in the last row
	out         []byte // what is left of the row
	damage      error
}

var (
	errFaxCode = errors.New("wrong code in fax compression")
	errFaxEnd  = errors.New("fax compression ends early")
)

func newFax(data []byte, compression, options, width int) *fax {
	return &fax{
		data: data, end: 8 * len(data), compression: compression, mixed: compression == group3 && options&1 != 0, width: width,
		above: []int{width, 0},
	}
}

// Read implements [io.Reader]. Bits of 1 are black.
func (f *fax) Read(p []byte) (n int, err error) {
	if len(f.out) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// next decodes the next row.
func (f *fax) next() error {
	if f.ended || f.compression == group4 && f.marked { // missing rows are zero
		f.damage, f.out = errFaxEnd, make([]byte, (f.width+7)/8)
		return nil
	}
	f.row = faxRow{runs: f.row.runs, width: f.width}
	if f.compression == group3 {
		if err := f.mark(); err != nil {
			return err
		}
	}
	err := f.codes()
	if f.row.at != f.row.width {
		f.damage = errFaxCode
	}
	f.row.finish()
	if errors.Is(err, io.ErrUnexpectedEOF) && f.rows > 0 {
		f.ended, f.damage = true, errFaxEnd
	} else if err != nil {
		return err
	}
	if f.compression == rle {
		f.at = (f.at + 7) / 8 * 8
	}
	f.rows++
	f.out = f.row.paint()
	f.row.put(0)
	f.above, f.row.runs = f.row.runs, f.above
	return nil
}

// codes decodes the codes of a row.
func (f *fax) codes() error {
	if f.compression == group4 {
		return f.byAbove()
	}
	if f.mixed {
		bit, err := f.peek(1)
		if err != nil {
			return err
		}
		if f.at++; bit == 0 {
			return f.byAbove()
		}
	}
	return f.flat()
}

// peek returns the next n bits, in which zeros stand for some that are missing.
func (f *fax) peek(n int) (bits uint, err error) {
	if f.at+n > f.end {
		if f.at >= f.end {
			return 0, io.ErrUnexpectedEOF
		}
		f.end = f.at + n
	}
	for i := f.at; i < f.at+n; i++ {
		bits <<= 1
		if i/8 < len(f.data) {
			bits |= uint(f.data[i/8]>>(7-i%8)) & 1
		}
	}
	return bits, nil
}

// faxMark is the number of zeros of a mark between rows, which ends with a one.
const faxMark = 11

// mark skips a mark and what is before it, unless its zeros have been read.
func (f *fax) mark() error {
	for !f.marked {
		bits, err := f.peek(faxMark)
		if err != nil {
			return err
		}
		if bits == 0 {
			break
		}
		f.at++
	}
	f.marked = false
	for {
		bit, err := f.peek(1)
		if err != nil {
			return err
		}
		if f.at++; bit == 1 {
			return nil
		}
	}
}

// flat decodes a row of runs of white and black pixels by turns.
func (f *fax) flat() error {
	r := &f.row
	for codes := whiteCodes; ; {
		ok, err := f.run(codes)
		if !ok || err != nil || r.at >= r.width {
			return err
		}
		if codes == whiteCodes {
			codes = blackCodes
			continue
		}
		codes = whiteCodes
		if r.runs[r.n-1] == 0 && r.runs[r.n-2] == 0 {
			r.n -= 2
		}
	}
}

// run decodes a run of pixels. It is not ok if there is a mark or a wrong code.
func (f *fax) run(codes *faxCodes) (ok bool, err error) {
	for {
		value, err := f.code(codes)
		switch {
		case err != nil:
			return false, err
		case value == faxEnd:
			f.marked = true
			return false, nil
		case value < 0:
			return false, nil
		case value < 64:
			return true, f.row.add(value)
		}
		f.row.more(value)
	}
}

// byAbove decodes a row by where its color changes relative to the row above.
func (f *fax) byAbove() error {
	r := &f.row
	next := 1               // run above
	change := f.above[0]    // where it begins
	forward := func() int { // the length of the next run above
		if next >= len(f.above) {
			return 0
		}
		next++
		return f.above[next-1]
	}
	catchUp := func() { // to the next change to the other color
		for r.n > 0 && change <= r.at && change < r.width {
			change += forward()
			change += forward()
		}
	}
	for r.at < r.width {
		mode, err := f.code(modeCodes)
		if err != nil {
			return err
		}
		switch mode {
		case modePass:
			catchUp()
			change += forward()
			r.more(change - r.at)
			change += forward()
			continue
		case modeRuns:
			first, second := whiteCodes, blackCodes
			if r.n%2 == 1 {
				first, second = second, first
			}
			for _, codes := range []*faxCodes{first, second} {
				if ok, err := f.run(codes); !ok {
					f.marked = false
					return err
				}
			}
			catchUp()
			continue
		case modeExtension, faxEnd:
			if mode == modeExtension && f.mixed {
				return errFaxCode
			}
			r.put(r.width - r.at)
			if mode == faxEnd {
				if _, err := f.peek(4); err != nil {
					return err
				}
				f.at, f.marked = f.at+4, true
			}
			return nil
		}
		catchUp()
		if change+mode < r.at {
			return nil
		}
		if err := r.add(change + mode - r.at); err != nil {
			return err
		}
		if mode >= 0 {
			change += forward()
		} else {
			next--
			change -= f.above[next]
		}
	}
	if r.run == 0 {
		return nil
	}
	if r.run+r.at < r.width { // a last mode is expected
		bit, err := f.peek(1)
		if err != nil || bit == 0 {
			return err
		}
		f.at++
	}
	return r.add(0)
}

// faxRow is a row being decoded.
type faxRow struct {
	runs  []int // the first n are the lengths of white and black runs by turns
	n     int
	run   int // length of the current one so far, which is in at, too
	at    int
	width int
}

// put appends a length to runs.
func (r *faxRow) put(length int) {
	if r.n == len(r.runs) {
		r.runs = append(r.runs, 0)
	}
	r.runs[r.n] = length
	r.n++
}

// more lengthens the current run, which end ends.
func (r *faxRow) more(n int) { r.run, r.at = r.run+n, r.at+n }

func (r *faxRow) end(n int) {
	r.put(r.run + n)
	r.at, r.run = r.at+n, 0
}

// add is end for a row that may have too many runs.
func (r *faxRow) add(n int) error {
	if r.n > 2*r.width+64 {
		return errors.New("too many runs in a row")
	}
	r.end(n)
	return nil
}

// finish makes the runs as long as the row.
func (r *faxRow) finish() {
	if r.run != 0 {
		r.end(0)
	}
	for r.at > r.width && r.n > 0 {
		r.n--
		r.at -= r.runs[r.n]
	}
	switch {
	case r.at < r.width:
		r.at = max(r.at, 0)
		if r.n%2 == 1 {
			r.end(0)
		}
		r.end(r.width - r.at)
	case r.at > r.width:
		r.end(r.width)
		r.end(0)
	}
}

// paint returns the pixels, and cuts runs that damage has made longer than the row.
func (r *faxRow) paint() []byte {
	out := make([]byte, (r.width+7)/8)
	at := 0
	for i, n := range r.runs[:r.n] {
		if n < 0 || n > r.width-at { // after damage
			n = r.width - at
			r.runs[i] = n
		}
		if i%2 == 1 {
			for x := at; x < at+n; x++ {
				out[x/8] |= 0x80 >> (x % 8)
			}
		}
		at += n
	}
	return out
}

// faxCodes are the values of codes of bits, by the length and the bits of the code.
type faxCodes struct {
	values  map[[2]uint]int
	longest int
	end     int // number of zeros of a mark
}

// Values that are no lengths of runs.
const (
	faxWrong = -100 - iota
	faxEnd
	modePass
	modeRuns
	modeExtension
)

// code decodes a code.
func (f *fax) code(c *faxCodes) (value int, err error) {
	bits, err := f.peek(c.longest)
	if err != nil {
		return 0, err
	}
	for n := 1; n <= c.longest; n++ {
		start := bits >> (c.longest - n)
		if n == c.end && start == 0 {
			f.at += n
			return faxEnd, nil
		}
		if value, ok := c.values[[2]uint{uint(n), start}]; ok {
			f.at += n
			return value, nil
		}
	}
	return faxWrong, nil
}

// The codes of T.4: those of runs of 0 to 63 pixels, of 64 to 1728 in steps of 64, and of longer ones.
var (
	whiteCodes = runCodes(12, "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 "+
		"101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 "+
		"00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 "+
		"00101101 00000100 00000101 00001010 00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 "+
		"01011010 01011011 01001010 01001011 00110010 00110011 00110100 "+
		"11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011 "+
		"011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 "+
		"010011011 ")
	blackCodes = runCodes(13, "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 "+
		"000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 "+
		"00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 000001101010 000001101011 "+
		"000011010010 000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 "+
		"000011011011 000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 000001010011 "+
		"000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 "+
		"000001011010 000001100110 000001100111 "+
		"0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101 "+
		"0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 0000001110101 "+
		"0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 "+
		"0000001100100 0000001100101 ")
	modeCodes = &faxCodes{values: map[[2]uint]int{
		{4, 0b0001}: modePass, {3, 0b001}: modeRuns, {7, 0b0000001}: modeExtension,
		{1, 0b1}: 0, {3, 0b011}: 1, {6, 0b000011}: 2, {7, 0b0000011}: 3, {3, 0b010}: -1, {6, 0b000010}: -2, {7, 0b0000010}: -3,
	}, longest: 7, end: 7}
)

const longCodes = "00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 " +
	"000000010111 000000011100 000000011101 000000011110 000000011111"

func runCodes(longest int, codes string) *faxCodes {
	c := &faxCodes{values: map[[2]uint]int{}, longest: longest, end: faxMark}
	for i, code := range strings.Fields(codes + longCodes) {
		bits := uint(0)
		for _, bit := range code {
			bits = bits<<1 | uint(bit-'0')
		}
		if i >= 64 {
			i = 64 * (i - 63)
		}
		c.values[[2]uint{uint(len(code)), bits}] = i
	}
	return c
}
