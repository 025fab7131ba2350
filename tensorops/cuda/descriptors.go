package cuda

import (
	"slices"
	"unsafe"
)

// builder makes descriptors of cuDNN's graph interface. After an error, which err holds, it makes no more.
type builder struct {
	*cudnn
	made []descriptor
	err  error
}

// try makes a call, unless one has failed before.
func (b *builder) try(call func() dnnStatus, format string, args ...any) {
	if b.err == nil {
		b.err = b.checkDNN(call(), format, args...)
	}
}

// create makes an empty descriptor.
func (b *builder) create(kind int32) (d descriptor) {
	b.try(func() dnnStatus { return b.cudnnBackendCreateDescriptor(kind, &d) }, "cudnnBackendCreateDescriptor of kind %d", kind)
	if d != 0 {
		b.made = append(b.made, d)
	}
	return d
}

// add makes a descriptor with attributes, except empty ones, such as the knobs of an engine that has none.
func (b *builder) add(kind int32, attributes ...attribute) descriptor {
	d := b.create(kind)
	for _, a := range attributes {
		if a.count > 0 {
			b.try(func() dnnStatus { return b.cudnnBackendSetAttribute(d, a.name, a.kind, a.count, a.values) }, "attribute %d of a descriptor", a.name)
		}
	}
	b.try(func() dnnStatus { return b.cudnnBackendFinalize(d) }, "cudnnBackendFinalize of kind %d", kind)
	return d
}

// several reads an attribute that consists of up to so many descriptors of a kind.
func (b *builder) several(of descriptor, name, kind int32, most int) []descriptor {
	list := make([]descriptor, most)
	for i := range list {
		list[i] = b.create(kind)
	}
	return readInto(b, of, name, typeDescriptor, list)
}

// close destroys the descriptors. It ignores errors: nothing can be done about them.
func (b *builder) close() {
	for _, d := range slices.Backward(b.made) {
		b.cudnnBackendDestroyDescriptor(d)
	}
	b.made = nil
}

// attribute is what a descriptor is given.
type attribute struct {
	name, kind int32
	count      int64
	values     unsafe.Pointer
}

// attributeOf returns an attribute with values of the C type that its kind has.
func attributeOf[T any](name, kind int32, values ...T) attribute {
	return attribute{name, kind, int64(len(values)), unsafe.Pointer(unsafe.SliceData(values))}
}

func one[T any](name, kind int32, value T) attribute { return attributeOf(name, kind, value) }
func ints(name int32, values ...int64) attribute     { return attributeOf(name, typeInt64, values...) }
func refs(name int32, values ...descriptor) attribute {
	return attributeOf(name, typeDescriptor, values...)
}

// read returns the values of an attribute, of which there are at most so many.
func read[T any](b *builder, of descriptor, name, kind int32, most int) []T {
	return readInto(b, of, name, kind, make([]T, most))
}

// value returns the value of an attribute that has one.
func value[T any](b *builder, of descriptor, name, kind int32) (v T) {
	if list := read[T](b, of, name, kind, 1); len(list) > 0 {
		v = list[0]
	}
	return v
}

// readInto reads as many values of an attribute as there are, and as the list has room for.
func readInto[T any](b *builder, of descriptor, name, kind int32, list []T) []T {
	var count int64
	b.try(func() dnnStatus {
		return b.cudnnBackendGetAttribute(of, name, kind, int64(len(list)), &count, unsafe.Pointer(&list[0]))
	}, "reading attribute %d of a descriptor", name)
	if b.err != nil {
		return nil
	}
	return list[:min(int(count), len(list))]
}
