// Command csvimport imports large CSV files into an SQLite database, one job a file: an example of a job that takes long, is
// killed halfway and goes on where it was. README.md says how to run it.
//
//	csvimport enqueue -brokers ADDRS FILE...   make a job of each file
//	csvimport work -brokers ADDRS -db FILE     import them
//
// importer.go is the handler, and all there is to learn from; here is the life of the process. Nothing imports it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
)

const topic = "imports"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "csvimport:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: csvimport enqueue|work [flags]; each explains its flags with -h")
	}
	flags := flag.NewFlagSet("csvimport "+args[0], flag.ContinueOnError)
	brokers := flags.String("brokers", "localhost:9092", "addresses to begin with, separated by commas")
	switch args[0] {
	case "enqueue":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return enqueue(ctx, strings.Split(*brokers, ","), flags.Args())
	case "work":
		db := flags.String("db", "imports.db", "the SQLite database")
		every := flags.Duration("checkpoint", 2*time.Second, "how often the place in the file is kept")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return work(ctx, strings.Split(*brokers, ","), *db, *every)
	}
	return fmt.Errorf("%q is neither enqueue nor work", args[0])
}

// enqueue makes a job of each file. Its id is the path: a file that was imported is not imported again.
func enqueue(ctx context.Context, brokers, files []string) error {
	if len(files) == 0 {
		return errors.New("enqueue: name at least one file")
	}
	p, err := producer.New(producer.Config{Brokers: brokers, Topic: topic})
	if err != nil {
		return err
	}
	for _, f := range files {
		if f, err = filepath.Abs(f); err != nil {
			break
		}
		if _, err = p.Enqueue(ctx, File{Path: f}, &job.Options{ID: f}); err != nil {
			break
		}
		fmt.Println("enqueued", f)
	}
	return errors.Join(err, p.Close(ctx))
}

func work(ctx context.Context, brokers []string, path string, every time.Duration) error {
	i, err := newImporter(path, every)
	if err != nil {
		return err
	}
	mux := processor.NewMux()
	processor.Handle(mux, i.handle, job.Policy{Timeout: 12 * time.Hour})
	err = consumer.Run(ctx, consumer.Config{Brokers: brokers, Group: "csvimport", Topics: []string{topic}, Mux: mux,
		Setup: consumer.Create, Workers: 4, SessionTimeout: 9 * time.Second}) // so long a killed worker keeps its files
	return errors.Join(err, i.db.Close())
}
