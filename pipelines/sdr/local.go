//go:build local

package main

// distant is as in distant.go.
var distant = []string{"flink"}
