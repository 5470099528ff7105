package clock

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The clock goes on, and is not ahead of how long the machine has been there.
func TestMonotonic(t *testing.T) {
	before := Monotonic()
	require.Positive(t, before)
	text, err := os.ReadFile("/proc/uptime")
	require.NoError(t, err)
	var seconds float64
	_, err = fmt.Sscan(string(text), &seconds)
	require.NoError(t, err)
	require.LessOrEqual(t, before, time.Duration(seconds*1e9)+10*time.Millisecond, "it has two digits behind the point")
	require.GreaterOrEqual(t, Monotonic(), before)
}
