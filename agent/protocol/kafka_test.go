package protocol

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var kafkaTestID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// kafkaFill gives every field of a message a value, with arrays of two and codes that are all code.
func kafkaFill(v reflect.Value, name string, code int16) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		kafkaFill(v.Elem(), name, code)
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			tags.Set(77, []byte("mark"))
			tags.Set(78, make([]byte, 200))
			return
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i).Name; field != "Version" && v.Field(i).CanSet() {
				kafkaFill(v.Field(i), field, code)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(strings.Repeat("mark", 100)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			kafkaFill(v.Index(i), name, code)
		}
	case reflect.Array:
		reflect.Copy(v, reflect.ValueOf(kafkaTestID))
	case reflect.String:
		v.SetString("mark")
		if name == "Topic" || name == "TopicNames" {
			v.SetString("orders")
		}
	case reflect.Int16:
		v.SetInt(1)
		if strings.HasSuffix(name, "ErrorCode") {
			v.SetInt(int64(code))
		}
	case reflect.Int8, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	}
}

// kafkaAsk is a request as a client writes it.
func kafkaAsk(r kmsg.Request, version int16, id int32) string {
	r.SetVersion(version)
	return string(kmsg.NewRequestFormatter(kmsg.FormatterClientID("mark")).AppendRequest(nil, r, id))
}

// kafkaTell is an answer as a server writes it.
func kafkaTell(r kmsg.Response, version int16, id int32) string {
	r.SetVersion(version)
	b := binary.BigEndian.AppendUint32(nil, uint32(id))
	if r.IsFlexible() && r.Key() != 18 {
		b = append(b, 1, 9, 3, 'a', 'b', 'c')
	}
	b = r.AppendTo(b)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
}

// Every version of every API, as a library writes it, is read to its end, and the operation and the first code are found.
func TestKafkaEveryVersion(t *testing.T) {
	highest := int16(0)
	for key := int16(0); key < 200; key++ {
		request := kmsg.RequestForKey(key)
		if request == nil {
			assert.Nil(t, kafkaAPIs[key])
			continue
		}
		api := kafkaAPIs[key]
		require.NotNil(t, api, kmsg.NameForKey(key))
		highest = key
		assert.True(t, strings.EqualFold(kmsg.NameForKey(key), api.name) || key == 45, "%s is called %s", kmsg.NameForKey(key), api.name)
		assert.Equal(t, request.MaxVersion(), api.max, api.name)
		for version := int16(0); version <= api.max; version++ {
			kafkaFill(reflect.ValueOf(request).Elem(), "", 0)
			if key == 7 && version == 0 {
				continue // has another header; no broker of today sends it
			}
			ask := kafkaAsk(request, version, 5)
			assert.Equal(t, request.IsFlexible(), version >= api.flexible, "%s %d", api.name, version)
			want := api.name
			if api.topics {
				want += " orders"
			}
			for _, code := range []int16{0, 3} {
				answer := request.ResponseKind()
				kafkaFill(reflect.ValueOf(answer).Elem(), "", code)
				p := Kafka()
				f := newTalk(t, p)
				f.conn.(*kafkaConn).names.put(kafkaTestID, "orders")
				for _, c := range talkPieces(turns(ask, kafkaTell(answer, version, 5)), 64) {
					f.feed(c.from, c.data, c.at)
				}
				require.Empty(t, f.errors)
				status := map[int16]string{0: "ok", 3: "UNKNOWN_TOPIC_OR_PARTITION!"}[code]
				assert.Equal(t, []string{want + ": " + status}, f.outcomes(), "version %d", version)
				for _, waiting := range f.waiting {
					require.Empty(t, waiting)
				}
				require.False(t, f.conn.(*kafkaConn).messages[FromServer].unread, "%s %d", api.name, version)
			}
			assert.Equal(t, Yes, detectKafka(FromClient, []byte(ask)), "%s %d", api.name, version)
			for n := range len(ask) {
				require.NotEqual(t, No, detectKafka(FromClient, []byte(ask[:n])), "%s %d, first %d bytes", api.name, version, n)
			}
			if api.whole { // one byte more or less is not it, were the client without a name
				for _, change := range []int{-1, 1} {
					other := []byte(ask + "x")
					binary.BigEndian.PutUint32(other, uint32(len(ask)-4+change))
					assert.Equal(t, No, detectKafka(FromClient, other[:len(ask)+change]), "%s %d %+d", api.name, version, change)
				}
			}
		}
	}
	assert.EqualValues(t, 94, highest)
}

func TestKafkaErrorNames(t *testing.T) {
	for code := int16(-1); code < 300; code++ {
		want := "ok"
		if err := kerr.TypedErrorForCode(code); err != nil {
			want = err.Message
		}
		if got, _ := kafkaStatus(code); int(code) <= len(kafkaErrors) {
			assert.Equal(t, want, got)
		}
	}
	name, failed := kafkaStatus(999)
	assert.Equal(t, "error_999", name)
	assert.True(t, failed)
	_, failed = kafkaStatus(kafkaRebalancing)
	assert.False(t, failed)
}
