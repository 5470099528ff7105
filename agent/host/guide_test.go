package host

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/vetch-dev/vetch/model"
)

// TestGuideNamesEveryFigure holds docs/guide/metrics.md to all metrics of this package; a machine has some of them only.
func TestGuideNamesEveryFigure(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	note := func(name, _, _ string) *model.Family {
		names = append(names, name)
		return &model.Family{Name: name}
	}
	f := newFamilies()
	f.containers(note, note)
	f.pods(note, note)
	f.ofFilesystems(note)
	for _, one := range []*model.Family{
		f.nodeCPU, f.nodeCores, f.diskReads, f.diskWrites, f.diskRead, f.diskWritten, f.diskReadTime, f.diskWriteTime, f.diskTime, f.netReceived,
		f.netReceivedPackets, f.netSent, f.netSentPackets, f.netUp, f.dropped, f.failures, f.spent, f.groups, f.processes, f.kubelet,
	} {
		names = append(names, one.Name)
	}
	for _, one := range f.nodeMemory {
		names = append(names, one.Name)
	}
	for _, name := range names {
		if !regexp.MustCompile("`" + name + "[`{]").Match(guide) {
			t.Errorf("%s is not in the guide", name)
		}
	}
	if len(names) < 40 || !strings.Contains(strings.Join(names, " "), "vetch_pod_memory_rss_bytes") {
		t.Errorf("only %d names: %v", len(names), names)
	}
}
