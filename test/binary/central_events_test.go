package binary

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// events asks for the events that a query chooses.
func (c *central) events(query string) ([]told, error) {
	text, err := c.ask("/api/events?"+query, allToken)
	if err != nil {
		return nil, err
	}
	var list struct{ Events []told }
	err = json.Unmarshal(text, &list)
	return list.Events, err
}

// TestAgentsSendEvents crashes a program beside an agent while its server is there, and while it is not: the server tells of each crash once.
func TestAgentsSendEvents(t *testing.T) {
	c, dataDir := startCentral(t, false), t.TempDir()
	hook := hooks()[0]
	v := shipping(t, hook, append(c.environment(), "VETCH_DATA_DIR="+dataDir)...)
	path := namedPerl(t, fmt.Sprint("vetch-sent-", os.Getpid()%1000))
	name := fmt.Sprint("vetch-sent-", os.Getpid()%1000)
	crashed := 0
	crash := func(times int) {
		crashed += times
		for range times {
			endsBy(t, syscall.SIGSEGV, exec.Command(path, "-e", fault))
		}
	}
	counted := func() error {
		list, err := c.events("reason=Crashed&workload=" + url.QueryEscape("/Process/"+name))
		if err == nil && (len(list) != 1 || list[0].Count != crashed) {
			err = fmt.Errorf("%d crashes are %+v", crashed, list)
		}
		return err
	}
	crash(3)
	require.NoError(t, poll(t.Context(), counted), "vetch agent says:\n%s", v.log)
	list, err := c.events("text=" + name)
	require.NoError(t, err)
	require.Equal(t, "node-"+hook, list[0].Node)
	require.Equal(t, "kernel", list[0].Source)
	require.Equal(t, "SIGSEGV", list[0].Fields["signal"])
	text, err := c.ask("/api/events/counts?by=reason&text="+name, allToken)
	require.NoError(t, err)
	require.Contains(t, string(text), fmt.Sprintf(`"value":"Crashed","total":%d`, crashed))

	require.Error(t, c.signal(t, os.Kill))
	crash(2)
	v.waitFor(t, "events wait", func(s scrape) bool {
		return s.sum("vetch_ship_queue_bytes", labels{"signal": "events"})+s.sum("vetch_ship_spool_bytes", labels{"signal": "events"}) > 0
	})
	c.start(t)
	require.NoError(t, poll(t.Context(), counted), "vetch agent says:\n%s\nvetch server says:\n%s", v.log, c.log)
	require.NoError(t, v.stop())
	_, err = c.ask("/api/events", writeToken)
	require.ErrorContains(t, err, "403", "who may only write does not read")
}
