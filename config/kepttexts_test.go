package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseKeptTexts(t *testing.T) {
	kept, err := ParseKeptTexts([]string{"pods=team", "pods=app.kubernetes.io/name", "nodes=*"})
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"pods": {"team", "app.kubernetes.io/name"}, "nodes": {"*"}}, kept)
	for _, wrong := range []string{"pods", "=team", "pods=", ""} {
		_, err := ParseKeptTexts([]string{wrong})
		require.ErrorContains(t, err, "pods=team", wrong)
	}
}
