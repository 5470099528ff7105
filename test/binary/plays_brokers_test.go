package binary

import (
	"fmt"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// openNATS has one connection that asks and one that answers.
func openNATS(t *testing.T, s service) dialogue {
	connect := func() *nats.Conn {
		options := []nats.Option{nats.UserInfo("u", secret), nats.NoReconnect()}
		if s.encrypted {
			options = append(options, nats.Secure(s.config()))
		}
		conn, err := nats.Connect("nats://"+s.address, options...)
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		return conn
	}
	answering, asking := connect(), connect()
	_, err := answering.QueueSubscribe("time.now", "clocks", func(m *nats.Msg) { m.Respond([]byte(secret)) }) //nolint:errcheck // who asked will tell
	require.NoError(t, err)
	require.NoError(t, answering.Flush())
	return func(n int) map[string]int {
		for i := range n {
			require.NoError(t, asking.Publish(fmt.Sprintf("orders.%d", 1000+i), []byte(secret)))
			_, err := asking.Request("time.now", []byte(secret), patience)
			require.NoError(t, err)
		}
		return map[string]int{"connect ok": anyNumber, "subscribe time.now ok": anyNumber, "publish orders.* ok": n, "request time.now ok": n, "deliver time.now ok": n, "reply time.now ok": n,
			"subscribe _INBOX.* ok": anyNumber}
	}
}

func openMQTT(t *testing.T, s service) dialogue {
	scheme := "tcp://"
	if s.encrypted {
		scheme = "ssl://"
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(scheme + s.address).SetTLSConfig(s.config()).SetClientID(secret + s.port()).SetUsername("user").SetPassword(secret).SetAutoReconnect(false))
	done := func(token mqtt.Token) {
		t.Helper()
		require.True(t, token.WaitTimeout(patience))
		require.NoError(t, token.Error())
	}
	done(client.Connect())
	t.Cleanup(func() { client.Disconnect(250) })
	return func(n int) map[string]int {
		for i := range n {
			done(client.Publish(fmt.Sprintf("plant/%d/temp", 1000+i), 1, false, secret))
		}
		return map[string]int{"connect ok": anyNumber, "publish plant/*/temp ok": n}
	}
}

// dialRabbit opens a connection with one channel without confirms and one with.
func dialRabbit(t *testing.T, s service) (*amqp.Connection, dialogue) {
	conn, err := amqp.DialTLS(s.url("amqp"), s.config())
	require.NoError(t, err)
	unconfirmed, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, unconfirmed.ExchangeDeclare("parcels", "fanout", false, false, false, false, nil))
	confirmed, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, confirmed.Confirm(false))
	return conn, func(n int) map[string]int {
		message := amqp.Publishing{Body: []byte(secret), Headers: amqp.Table{secret: secret}}
		for range n {
			require.NoError(t, unconfirmed.PublishWithContext(t.Context(), "parcels", secret, false, false, message))
			answer, err := confirmed.PublishWithDeferredConfirmWithContext(t.Context(), "parcels", secret, false, false, message)
			require.NoError(t, err)
			require.True(t, answer.Wait())
		}
		return map[string]int{"publish parcels ok": 2 * n}
	}
}

func openRabbitMQ(t *testing.T, s service) dialogue {
	conn, ask := dialRabbit(t, s)
	t.Cleanup(func() { conn.Close() })
	return ask
}

func playRabbitMQ(t *testing.T, s service) map[string]int {
	conn, ask := dialRabbit(t, s)
	want := ask(asked)
	require.NoError(t, conn.Close())
	for operation, n := range map[string]int{"connection.start-ok ok": 1, "connection.open ok": 1, "channel.open ok": 2, "confirm.select ok": 1, "exchange.declare parcels ok": 1, "connection.close ok": 1} {
		want[operation] = n
	}
	return want
}
