package servicemap

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func openPositions(t testing.TB, file string) *positions {
	t.Helper()
	p, err := newPositions(file, slog.New(slog.DiscardHandler), func() time.Time { return time.Unix(1000, 0) })
	require.NoError(t, err)
	return p
}

func TestPictureSurvivesRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "positions.json")
	p := openPositions(t, file)
	spots(t, p, calls("b>c"))
	before := spots(t, p, calls("b>c", "a>b", "shop/x>shop/y", `quote"d/`+"new\nline>c"))
	require.NoError(t, p.save())

	again := openPositions(t, file)
	require.Equal(t, p.drawn, again.drawn)
	require.Equal(t, before, spots(t, again, calls("b>c", "a>b", "shop/x>shop/y", `quote"d/`+"new\nline>c")))
	require.False(t, again.changed)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	require.Equal(t, []string{file}, left)
}

func TestCorruptPositionsAreSetAside(t *testing.T) {
	node := `{"id":"a","group":"g","col":0,"row":0,"seen":1}`
	for name, content := range map[string]string{
		"empty":             ``,
		"cut":               `{"version":1,"nodes":[{"id":"a"`,
		"binary":            "\x00\x01\xff",
		"other shape":       `[1,2,3]`,
		"no version":        `{"nodes":[]}`,
		"negative version":  `{"version":-1,"nodes":[]}`,
		"two in one cell":   `{"version":1,"nodes":[` + node + `,{"id":"b","group":"g","col":0,"row":0,"seen":1}]}`,
		"one in two cells":  `{"version":1,"nodes":[` + node + `,{"id":"a","group":"g","col":1,"row":0,"seen":1}]}`,
		"no id":             `{"version":1,"nodes":[{"id":"","group":"g","col":0,"row":0,"seen":1}]}`,
		"far away":          `{"version":1,"nodes":[{"id":"a","group":"g","col":1000000000,"row":0,"seen":1}]}`,
		"not a whole place": `{"version":1,"nodes":[{"id":"a","group":"g","col":0.5,"row":0,"seen":1}]}`,
		"too many":          `{"version":1,"nodes":[` + strings.Repeat(node+",", 2*maxRemembered) + node + `]}`,
		"too large":         `{"version":1,"nodes":[]}` + strings.Repeat(" ", maxPositionsBytes),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "positions.json")
			require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			p := openPositions(t, file)
			require.Empty(t, p.places)
			aside, err := os.ReadFile(file + ".corrupt-1000")
			require.NoError(t, err)
			require.Equal(t, content, string(aside))
			spots(t, p, calls("a>b"))
			require.NoError(t, p.save())
			require.Len(t, openPositions(t, file).places, 2)
		})
	}
}

func TestNewerPositionsAreLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "positions.json")
	content := `{"version":2,"nodes":"of another shape"}`
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	p := openPositions(t, file)
	spots(t, p, calls("a>b"))
	require.NoError(t, p.save())
	kept, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, content, string(kept))
}

func TestUnwritablePositionsAreAnErrorAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	p := openPositions(t, filepath.Join(dir, "gone", "positions.json"))
	spots(t, p, calls("a>b"))
	require.ErrorContains(t, p.save(), "save map positions")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "gone"), 0o700))
	require.NoError(t, p.save())
	require.Len(t, openPositions(t, p.file).places, 2)
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p, err := newPositions("", nil, func() time.Time { return now })
	require.NoError(t, err)
	for batch := range 6 {
		m := &Map{}
		for i := range maxRemembered / 4 {
			id := fmt.Sprintf("/Process/p%d-%05d", batch, i)
			m.Nodes = append(m.Nodes, Node{ID: id, Kind: "Process"})
		}
		p.place(m)
		now = now.Add(time.Hour)
		require.LessOrEqual(t, len(p.places), maxRemembered)
	}
	now = now.Add(rememberFor)
	spots(t, p, calls("a>b"))
	require.Len(t, p.places, 2, "what is not seen for long is forgotten")
}

func FuzzPositions(f *testing.F) {
	f.Add([]byte(`{"version":1,"drawn":2,"nodes":[{"id":"/Deployment/a","group":"namespace/","col":0,"row":0,"seen":1},{"id":"/Deployment/b","group":"x","col":-5,"row":3,"seen":1}]}`))
	f.Add([]byte(`{"version":1,"nodes":[{"id":"/Deployment/a","group":"g","col":-999999,"row":-999999},{"id":"/Deployment/b","group":"g","col":999999,"row":999999}]}`))
	f.Add([]byte(`{"version":1,"drawn":2,"nodes":[{"id":"/Deployment/a","group":"namespace/"},{"id":"/Deployment/b","col":25}]}`)) // without a group: others were put on it
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"drawn":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "p")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		p := openPositions(t, file)
		spots(t, p, calls("a>b", "b>c", "c>a", "~x>a", "n/d>c"))
		_ = p.save()
	})
}
