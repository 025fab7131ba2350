//go:build local

package main

var distant = []string{"flink"}
