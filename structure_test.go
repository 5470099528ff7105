package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/vetch-dev/vetch"

// layers are the folders at the root, lowest first. A package may import from lower layers and from its own folder.
// test/ and the main package may import everything.
var layers = [][]string{
	{"model"},
	{"config", "bpf", "store", "transport", "web"},
	{"agent", "kube", "query", "servicemap"},
	{"aggregator", "alert", "hub"},
	{"api"},
	{"command"},
}

// importers are libraries that only the named packages may use, so that what they do stays in one place.
var importers = map[string][]string{
	"github.com/cilium/ebpf":     {"bpf", "agent/probe"},
	"github.com/VictoriaMetrics": {"store/columnar"},
	"k8s.io/client-go":           {"kube"},
}

type goPackage struct {
	ImportPath, Dir      string
	Imports              []string
	GoFiles, TestGoFiles []string
	XTestGoFiles         []string
}

// path is the package's folder relative to the root.
func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	for _, dir := range []string{"*", "*/*"} {
		// go test reuses an old result unless a folder that the test itself opened has changed; "go list" is not the test itself.
		folders, err := filepath.Glob(dir + "/")
		require.NoError(t, err)
		for _, f := range folders {
			_, err := os.ReadDir(f)
			require.NoError(t, err)
		}
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	out, err := cmd.Output()
	require.NoError(t, err)
	var list []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	require.NotEmpty(t, list)
	return list
}

func top(path string) string {
	folder, _, _ := strings.Cut(path, "/")
	return folder
}

func layer(folder string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, folder) })
}

func TestImportsFollowTheLayers(t *testing.T) {
	for _, p := range packages(t) {
		from := top(p.path())
		if from == "" || from == "test" || from == "scripts" {
			continue
		}
		if layer(from) < 0 {
			t.Errorf("%s: folder %q is in no layer; the layout is in ARCHITECTURE.md", p.path(), from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours || top(to) == from {
				continue
			}
			if layer(top(to)) >= layer(from) {
				t.Errorf("%s imports %s, which is not in a lower layer", p.path(), to)
			}
		}
	}
}

func TestAgentPartsDoNotImportTheWhole(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasPrefix(p.path(), "agent/") && slices.Contains(p.Imports, module+"/agent") {
			t.Errorf("%s imports agent, which joins it", p.path())
		}
	}
}

func TestLibrariesStayInTheirPlace(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for library, allowed := range importers {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(allowed, p.path()) && top(p.path()) != "test" {
					t.Errorf("%s imports %s; only %v may", p.path(), imported, allowed)
				}
			}
		}
	}
}

func TestFoldersAreTwoLevels(t *testing.T) {
	for _, p := range packages(t) {
		if strings.Count(p.path(), "/") > 1 {
			t.Errorf("%s is deeper than two levels", p.path())
		}
		for _, name := range []string{"pkg", "internal", "util", "utils", "common", "helpers"} {
			if slices.Contains(strings.Split(p.path(), "/"), name) {
				t.Errorf("%s: a folder is named for what it holds, not %q", p.path(), name)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		var text string
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			require.NoError(t, err)
			if f.Doc != nil && text == "" {
				text = packageDoc(f)
			}
		}
		if first := new(doc.Package).Synopsis(text); first == "" || !strings.HasSuffix(first, ".") {
			t.Errorf("%s: the package comment must be a sentence; it is %q", p.ImportPath, first)
		}
	}
}

// packageDoc leaves generated headers and build lines out.
func packageDoc(f *ast.File) string {
	if text := f.Doc.Text(); !strings.HasPrefix(text, "Code generated") {
		return text
	}
	return ""
}

func TestFilesFitAStory(t *testing.T) {
	const limit = 500
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			require.NoError(t, err)
			generated := bytes.HasPrefix(text, []byte("// Code generated"))
			if lines := bytes.Count(text, []byte("\n")); lines > limit && !generated {
				t.Errorf("%s/%s has %d lines; split it (limit %d)", p.path(), name, lines, limit)
			}
		}
	}
}
