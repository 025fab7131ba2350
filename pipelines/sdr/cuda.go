//go:build linux && (amd64 || arm64) && !nocuda

package main

import _ "github.com/sdr-ml/sdr/tensorops/cuda" // registers the device cuda
