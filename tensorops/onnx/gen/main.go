// Command gen compiles schema.proto to Go, as protoc with protoc-gen-go does, but from Go modules alone.
package main

import (
	"context"
	"log"
	"os"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// schema is the file's name, from the top of the project, which no other file in a program has.
const schema = "tensorops/onnx/schema.proto"

func main() {
	if err := generate("../..", "schema.pb.go"); err != nil {
		log.Fatal(err)
	}
}

// generate compiles the schema in the folder of the project to a file.
func generate(project, out string) error {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{project}},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	files, err := compiler.Compile(context.Background(), schema)
	if err != nil {
		return err
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{schema},
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])},
	})
	if err != nil {
		return err
	}
	content, err := internal_gengo.GenerateFile(plugin, plugin.Files[0]).Content()
	if err != nil {
		return err
	}
	return os.WriteFile(out, content, 0o644)
}
