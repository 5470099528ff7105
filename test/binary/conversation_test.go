package binary

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/test/conversation"
)

// TestConversations plays every script between two programs of its own and checks all counts in one reading.
// What is only malformed must leave vetch alive, and the bytes right.
func TestConversations(t *testing.T) {
	var all []expectation
	for i, script := range conversation.Scripts() {
		t.Run("play/"+script.Name, func(t *testing.T) { all = append(all, converse(t, i, script)) })
	}
	for _, v := range built.watchers {
		last := settled(t, v, all)
		for i, script := range conversation.Scripts() {
			t.Run(v.hook+"/"+script.Name, func(t *testing.T) {
				for _, d := range all[i].differences(last) {
					t.Error(d)
				}
			})
		}
		response, err := (&http.Client{Timeout: patience}).Get(v.url + "/-/ready")
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
}

// converse plays one script and returns what is to be counted.
func converse(t *testing.T, i int, script conversation.Script) expectation {
	t.Helper()
	connections, repeat := 4, 10
	if script.Ends() {
		connections, repeat = 20, 1
	}
	speaker, listener := fmt.Sprintf("asks-%03d", i), fmt.Sprintf("answers-%03d", i)
	answers, address := server(t, how{}, listener, "127.0.0.1:0", "-script", script.Name, "-connections", strconv.Itoa(connections), "-repeat", strconv.Itoa(repeat))
	report := client(t, how{}, speaker, address, "-mode", "script", "-script", script.Name, "-requests", strconv.Itoa(connections), "-concurrency", "2", "-repeat", strconv.Itoa(repeat))
	require.Equal(t, connections, answers.report(t, patience).Connections)
	e := expect(speaker, answers.name, address, report)
	for _, w := range script.Want {
		if w.Cut {
			e.cut += w.Count * connections * repeat
		}
	}
	e.uncounted = script.Loose
	return e
}
