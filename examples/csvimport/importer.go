package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/waybill-dev/waybill/job"
)

// File is the job: a CSV file of two columns, id and value, with a header line.
type File struct {
	Path string `json:"path"`
}

// Kind names the job.
func (File) Kind() string { return "csv.import" }

// place is how far a file was imported: the checkpoint.
type place struct {
	Offset int64 // in the file, of a row's first byte
	Rows   int64 // before it
}

type importer struct {
	db    *sql.DB
	every time.Duration
}

func newImporter(path string, every time.Duration) (*importer, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS rows (id TEXT PRIMARY KEY, value TEXT NOT NULL, writes INTEGER NOT NULL) WITHOUT ROWID`); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return &importer{db: db, every: every}, nil
}

// rowsAtOnce is how many rows one transaction has.
const rowsAtOnce = 500

// handle imports one file from its last checkpoint on. What was written after that is written again: upserts make that
// harmless, and the checkpoint makes it little. The order matters: rows first, then the checkpoint that says so.
func (i *importer) handle(ctx context.Context, j *job.Job[File]) error {
	var at place
	if _, err := j.Resume(&at); err != nil {
		return err
	}
	f, err := os.Open(j.Args.Path)
	if err != nil {
		return err // retried: perhaps another instance has the file, or soon will
	}
	defer f.Close()
	if at.Rows > 0 {
		fmt.Printf("%s: goes on at row %d\n", j.Args.Path, at.Rows)
	}
	r, err := open(f, at.Offset)
	if err != nil {
		return err
	}
	start := at.Offset // of what r counts
	for kept := time.Now(); ; {
		rows, err := read(r, rowsAtOnce)
		if err != nil {
			return job.Dead(fmt.Errorf("%s, after row %d: %w", j.Args.Path, at.Rows, err)) // it will not read better the next time
		}
		if len(rows) == 0 {
			fmt.Printf("%s: done, %d rows\n", j.Args.Path, at.Rows)
			return nil
		}
		if err := i.upsert(ctx, rows); err != nil {
			return err
		}
		at = place{Offset: start + r.InputOffset(), Rows: at.Rows + int64(len(rows))}
		if time.Since(kept) >= i.every {
			if err := j.Checkpoint(ctx, at); err != nil {
				return err
			}
			kept = time.Now()
		}
	}
}

// open reads from an offset on; at the begin of the file it skips the header line.
func open(f *os.File, offset int64) (*csv.Reader, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	r := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	r.FieldsPerRecord = 2
	if offset == 0 {
		if _, err := r.Read(); err != nil && !errors.Is(err, io.EOF) {
			return nil, job.Dead(fmt.Errorf("%s: %w", f.Name(), err))
		}
	}
	return r, nil
}

// read returns up to n rows, none at the end of the file.
func read(r *csv.Reader, n int) (rows [][]string, err error) {
	for len(rows) < n {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// upsert writes rows in one transaction. writes counts how often a row was written, to show how little a crash repeats.
func (i *importer) upsert(ctx context.Context, rows [][]string) error {
	tx, err := i.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // which is nothing once it is committed
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO rows (id, value, writes) VALUES (?, ?, 1)
		ON CONFLICT (id) DO UPDATE SET value = excluded.value, writes = writes + 1`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, r := range rows {
		if _, err := stmt.ExecContext(ctx, r[0], r[1]); err != nil {
			return err
		}
	}
	return tx.Commit()
}
