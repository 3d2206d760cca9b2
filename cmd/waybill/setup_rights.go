package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/setup"
)

func setupRights(a *app) *cobra.Command {
	var s setupFlags
	var role, principal string
	c := &cobra.Command{
		Use:   "rights",
		Short: "Print what a user must be allowed to do, and how to grant it",
		Long: `rights lists the least that a role needs: worker (runs the handlers of a group), producer (enqueues), operator (this CLI).
With --principal it prints the commands that grant it. Rights marked spare are good to have: the text says what is lost without.
The brokers are asked for the tiers the group has, unless --tiers names them.`,
		Example: `  waybill setup rights --role worker --group mailer --topic emails
  waybill setup rights --role producer --group mailer --topic emails --principal User:shop`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.rights(c.Context(), s, setup.Role(role), principal) },
	}
	f := c.Flags()
	f.DurationSliceVar(&s.tiers, "tiers", nil, "delays of the retry topics (default: those the group has, else 10s,2m,30m)")
	f.StringVar(&role, "role", string(setup.Worker), "worker, producer or operator")
	f.StringVar(&principal, "principal", "", "print the commands that grant the rights to this one, User:mailer for instance")
	return c
}

func (a *app) rights(ctx context.Context, s setupFlags, role setup.Role, principal string) error {
	if !slices.Contains(setup.Roles(), role) {
		return fmt.Errorf("--role %q is none of %v", role, setup.Roles())
	}
	t, err := a.target(needs{group: true, topic: true})
	if err != nil {
		return err
	}
	want, err := a.want(ctx, t, s)
	if err != nil {
		return t.unreached(err)
	}
	rights := setup.Rights(role, want, nil)
	return a.show(rights, func(t *table) {
		for _, r := range rights {
			if principal != "" {
				t.note("%s", r.Command(principal))
				continue
			}
			why := r.For
			if r.Spare {
				why = "spare: " + why
			}
			t.row(r.Op, r.Resource(), why)
		}
	})
}
