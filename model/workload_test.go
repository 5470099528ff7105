package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQualifiedIDs(t *testing.T) {
	for id, w := range map[string]Workload{
		"shop/Deployment/cart":           {Namespace: "shop", Kind: "Deployment", Name: "cart"},
		"/Unit/a:b/c":                    {Kind: "Unit", Name: "a:b/c"},
		"eu-1:shop/Deployment/cart":      {Cluster: "eu-1", Namespace: "shop", Kind: "Deployment", Name: "cart"},
		"eu%2F1%3Aa%25:/Process/nginx":   {Cluster: "eu/1:a%", Kind: KindProcess, Name: "nginx"},
		"%252F:shop/Deployment/cart":     {Cluster: "%2F", Namespace: "shop", Kind: "Deployment", Name: "cart"},
		":odd:space/Deployment/cart":     {Namespace: "odd:space", Kind: "Deployment", Name: "cart"},
		"eu-1:odd:space/Deployment/cart": {Cluster: "eu-1", Namespace: "odd:space", Kind: "Deployment", Name: "cart"},
	} {
		require.Equal(t, id, w.QualifiedID())
		got, ok := ParseID(id)
		require.True(t, ok, id)
		require.Equal(t, w, got)
	}
	for _, id := range []string{"", "shop", "shop/Deployment", "shop//cart", "eu:shop/Deployment/"} {
		_, ok := ParseID(id)
		require.False(t, ok, id)
	}
}
