package kubelet

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummariesAreBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"pods":[],"x":"`), repeat('a'))
	_, err := ReadSummary(endless)
	require.ErrorContains(t, err, "more than 64 MiB")
	_, err = ReadSummary(strings.NewReader(`{"pods":[` + strings.Repeat("{},", maxPods) + `{}]}`))
	require.ErrorContains(t, err, "5001 pods")
	_, err = ReadSummary(strings.NewReader(`{"pods":[{"containers":[` + strings.Repeat("{},", maxContainers) + `{}]}]}`))
	require.ErrorContains(t, err, "201 containers")
}

type repeat byte

func (r repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r)
	}
	return len(b), nil
}
