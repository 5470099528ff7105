package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// sqlAsker is clickhouse-go, for Debian's server. The password is the value.
type sqlAsker struct{ driver.Conn }

func newSQL(address, value, compression string, encrypting *tls.Config) (asker, error) {
	method := map[string]clickhouse.CompressionMethod{"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD}[compression]
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{address}, Auth: clickhouse.Auth{Username: "default", Password: value},
		Compression: &clickhouse.Compression{Method: method}, MaxOpenConns: 1, MaxIdleConns: 1, TLS: encrypting})
	if err != nil {
		return nil, err
	}
	return &sqlAsker{conn}, conn.Exec(context.Background(), "CREATE TABLE IF NOT EXISTS visits (id UInt64, name String, tags Array(String), age Nullable(UInt8)) ENGINE = Memory")
}

// round inserts a row, reads all, and asks what the server refuses.
func (a *sqlAsker) round(value string) error {
	ctx := context.Background()
	if err := a.Exec(ctx, "INSERT INTO visits SELECT 1, '"+value+"', ['a', '"+value+"'], NULL"); err != nil {
		return fmt.Errorf("INSERT: %w", err)
	}
	rows, err := a.Query(ctx, "SELECT id, name, tags, age FROM visits WHERE name = '"+value+"' LIMIT 1000")
	if err != nil {
		return fmt.Errorf("SELECT: %w", err)
	}
	for rows.Next() {
		var id uint64
		var name string
		var tags []string
		var age *uint8
		if err := rows.Scan(&id, &name, &tags, &age); err != nil || name != value {
			return fmt.Errorf("scan %q: %w", name, err)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("rows: %w", err)
	}
	if err := a.Exec(ctx, "SELECT "+value+" FROM visits"); err == nil {
		return errors.New("an unknown column was found")
	}
	return nil
}

// nativeAsker is ch-go, for the server of this program: ch-go does not speak to servers as old as Debian's.
type nativeAsker struct{ *ch.Client }

func newNative(address, value, compression string, encrypting *tls.Config) (asker, error) {
	method := map[string]ch.Compression{"none": ch.CompressionDisabled, "lz4": ch.CompressionLZ4, "zstd": ch.CompressionZSTD}[compression]
	client, err := ch.Dial(context.Background(), ch.Options{Address: address, Password: value, TLS: encrypting, Compression: method, Settings: []ch.Setting{{Key: "max_threads", Value: "2", Important: true}}})
	return &nativeAsker{client}, err
}

// round pings, inserts, reads rows of several types, and asks what the server refuses.
func (a *nativeAsker) round(value string) error {
	ctx := context.Background()
	if err := a.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	ids := make(proto.ColUInt64, 10_000)
	left := 3
	insert := ch.Query{Body: "INSERT INTO visits VALUES", Input: proto.Input{{Name: "id", Data: &ids}}, OnInput: func(context.Context) error {
		if left--; left == 0 {
			return io.EOF
		}
		return nil
	}}
	if err := a.Do(ctx, insert); err != nil {
		return fmt.Errorf("INSERT: %w", err)
	}
	results := proto.Results{}
	for _, c := range columns("") {
		results = append(results, proto.ResultColumn{Name: c.Name, Data: c.Data.(proto.ColResult)})
	}
	rows := 0
	if err := a.Do(ctx, ch.Query{Body: "SELECT * FROM visits WHERE name = {name:String}", Parameters: ch.Parameters(map[string]any{"name": value}), Result: results,
		OnResult: func(_ context.Context, b proto.Block) error { rows += b.Rows; return nil }}); err != nil || rows != 2*blockRows {
		return fmt.Errorf("SELECT gave %d rows: %w", rows, err)
	}
	state := &proto.ColRaw{T: stateType, Size: stateSize}
	var refused *ch.Exception
	if err := a.Do(ctx, ch.Query{Body: "SELECT state FROM states WHERE name = '" + value + "'", Result: proto.Results{{Name: "state", Data: state}}}); !errors.As(err, &refused) {
		return fmt.Errorf("states gave %w", err)
	}
	return nil
}
