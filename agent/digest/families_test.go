package digest

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/vetch-dev/vetch/model"
)

// TestFamiliesAreDocumented holds the guide to what the digest exports, and names to the rules of OpenMetrics.
func TestFamiliesAreDocumented(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families := newFamilies()
	valid := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	seen := map[string]bool{}
	v := reflect.ValueOf(families)
	for i := range v.NumField() {
		field := v.Field(i)
		name := field.Elem().FieldByName("Name").String()
		if !regexp.MustCompile("`" + name + "[`{]").Match(guide) {
			t.Errorf("%s is not in docs/guide/metrics.md", name)
		}
		if !valid.MatchString(name) || seen[name] {
			t.Errorf("bad or double name %q", name)
		}
		seen[name] = true
		if field.Elem().FieldByName("Help").String() == "" {
			t.Errorf("%s has no help", name)
		}
		if kind := model.MetricType(field.Elem().FieldByName("Type").Uint()); kind == model.Counter && !strings.HasSuffix(name, "_total") {
			t.Errorf("counter %s does not end in _total", name)
		}
	}
	for _, form := range containerForms {
		form.makeFamilies()
		for _, f := range []formFamilies{form.outbound, form.inbound} {
			if !regexp.MustCompile("`" + f.requests.Name + "[`{]").Match(guide) {
				t.Errorf("%s is not in docs/guide/metrics.md", f.requests.Name)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d families", len(seen))
	}
}
