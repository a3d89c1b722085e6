/* SPDX-License-Identifier: MIT */
/*
 * The words about which node memory is on: mempolicy, mbind, move_pages, status, migrate_pages; and split.
 */
#include "replay/script_run.h"

#include <pagesim/alloc.h>
#include <pagesim/errname.h>
#include <pagesim/exchange.h>
#include <pagesim/mempolicy.h>
#include <pagesim/migrate.h>
#include <pagesim/split.h>

#include "base/grow.h"

static void get_nodes(const struct ps_node_list *list, nodemask_t *ret)
{
	u32 i;

	nodes_clear(*ret);
	for (i = 0; i < list->n; i++)
		if (list->node[i] >= 0 && list->node[i] < MAX_NUMNODES)
			node_set(list->node[i], *ret);
}

static int policy_mode(struct script_run *run)
{
	switch (run->st->policy.mode) {
	case PS_POLICY_BIND:
		return MPOL_BIND;
	case PS_POLICY_PREFERRED:
		return MPOL_PREFERRED;
	case PS_POLICY_INTERLEAVE:
		return MPOL_INTERLEAVE;
	case PS_POLICY_WEIGHTED:
		script_fail(run, "policy weighted is not in this build yet");
		return MPOL_DEFAULT;
	default:
		return MPOL_DEFAULT;
	}
}

long verb_mempolicy(struct script_run *run)
{
	int mode = policy_mode(run);
	nodemask_t nodes;

	if (run->error)
		return 0;
	get_nodes(&run->st->policy.nodes, &nodes);
	return set_mempolicy((enum mempolicy_mode)mode, &nodes);
}

struct mbind_arg {
	struct mm_struct *mm;
	int mode;
	nodemask_t nodes;
	unsigned int flags;
};

static long mbind_one(void *opaque, u64 addr, u64 len)
{
	struct mbind_arg *arg = opaque;

	return ps_mbind(arg->mm, addr, len, arg->mode, &arg->nodes, arg->flags);
}

long verb_mbind(struct script_run *run)
{
	struct mbind_arg arg = { .mm = script_mm(run), .mode = policy_mode(run) };
	struct script_span span;

	if (run->error || !script_get_range(run, &span))
		return 0;
	get_nodes(&run->st->policy.nodes, &arg.nodes);
	if (run->st->bind & PS_BIND_STRICT)
		arg.flags |= MPOL_MF_STRICT;
	if (run->st->bind & PS_BIND_MOVE)
		arg.flags |= MPOL_MF_MOVE;
	if (run->st->bind & PS_BIND_MOVE_ALL)
		arg.flags |= MPOL_MF_MOVE_ALL;
	return script_each(&span, mbind_one, &arg);
}

static int status_at(const int *first, size_t stride, u64 i)
{
	return *(const int *)((const char *)first + i * stride);
}

/* The statuses of the pages of a span: one every @stride bytes. */
static void append_status(GString *out, const char *prefix, const int *first, size_t stride,
			  const struct script_span *span)
{
	u64 start = 0, i;

	for (i = 1; i <= span->n; i++) {
		int status = status_at(first, stride, start);

		if (i < span->n && status_at(first, stride, i) == status)
			continue;
		g_string_append_c(out, ' ');
		script_append_pages(out, prefix, span->first + start * span->step, span->first + (i - 1) * span->step,
				    span->step);
		if (status == PS_STATUS_UNSET)
			g_string_append(out, "=unset");
		else if (status < 0)
			g_string_append_printf(out, "=-%s", ps_errno_name(-status));
		else
			g_string_append_printf(out, "=%d", status);
		start = i;
	}
}

static long move_pages(struct script_run *run, bool query)
{
	const struct ps_statement *st = run->st;
	struct script_span *spans = ps_calloc(st->n_items, sizeof(*spans));
	struct ps_grow moves = { 0 };
	u64 base = 0;
	long ret = 0;
	u32 i;

	if (!spans)
		script_fail(run, "out of memory");
	for (i = 0; i < st->n_items && !run->error; i++) {
		u64 k;

		if (!script_get_span(run, &st->items[i].range, &spans[i]))
			break;
		if (!ps_grow_reserve(&moves, spans[i].n, sizeof(struct ps_move))) {
			script_fail(run, "out of memory");
			break;
		}
		for (k = 0; k < spans[i].n; k++) {
			struct ps_move move = { .addr = script_span_addr(&spans[i], k),
						.node = st->items[i].node,
						.status = PS_STATUS_UNSET };

			ps_grow_add(&moves, &move, sizeof(move));
		}
	}
	if (!run->error) {
		struct ps_move *array = moves.data;

		ret = ps_move_pages(script_mm(run), array, moves.n, query, st->all);
		script_print_result(run, ret);
		g_string_append(run->out, "  status:");
		for (i = 0; i < st->n_items; i++) {
			append_status(run->out, st->n_items > 1 ? spans[i].name : "", &array[base].status,
				      sizeof(*array), &spans[i]);
			base += spans[i].n;
		}
		g_string_append_c(run->out, '\n');
	}
	ps_free(spans);
	ps_grow_free(&moves);
	return ret;
}

long verb_move_pages(struct script_run *run)
{
	return move_pages(run, false);
}

long verb_status(struct script_run *run)
{
	return move_pages(run, true);
}

long verb_exchange(struct script_run *run)
{
	static const enum migrate_mode modes[] = { [PS_EXCHANGE_ASYNC] = MIGRATE_ASYNC,
						   [PS_EXCHANGE_SYNC_LIGHT] = MIGRATE_SYNC_LIGHT,
						   [PS_EXCHANGE_SYNC] = MIGRATE_SYNC };
	struct script_actor *self = run->actor, *other = script_find_actor(run, run->st->name);
	struct script_span from, to;
	struct ps_exchange *pairs;
	long ret = 0;
	u64 i;

	if (!other) {
		script_fail(run, "there is no task %s", run->st->name);
		return 0;
	}
	if (!script_get_range(run, &from))
		return 0;
	run->actor = other;
	if (script_get_span(run, &run->st->other, &to) && from.n != to.n)
		script_fail(run,
			    "expected as many pages on both sides, found %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT,
			    from.n, to.n);
	run->actor = self;
	if (run->error)
		return 0;
	pairs = ps_alloc(from.n * sizeof(*pairs));
	if (!pairs) {
		script_fail(run, "out of memory");
		return 0;
	}
	for (i = 0; i < from.n; i++)
		pairs[i] = (struct ps_exchange){ .from = script_span_addr(&from, i),
						 .to = script_span_addr(&to, i),
						 .status = PS_STATUS_UNSET };
	ret = ps_exchange_pages(script_mm(run), other->task->mm, pairs, from.n, modes[run->st->mode], false);
	script_print_result(run, ret);
	g_string_append(run->out, "  status:");
	append_status(run->out, "", &pairs[0].status, sizeof(*pairs), &from);
	g_string_append_c(run->out, '\n');
	ps_free(pairs);
	return ret;
}

long verb_migrate_pages(struct script_run *run)
{
	nodemask_t from, to;

	get_nodes(&run->st->nodes, &from);
	get_nodes(&run->st->to_nodes, &to);
	return ps_migrate_pages(script_mm(run), &from, &to);
}

long verb_split(struct script_run *run)
{
	struct script_span span;

	if (!script_get_range(run, &span))
		return 0;
	if (run->st->number) {
		script_fail(run, "splitting to order %" G_GUINT64_FORMAT " is not in this build yet: order 0 only",
			    run->st->number);
		return 0;
	}
	split_huge_pages_range(script_mm(run), span.addr, span.addr + (span.n << PAGE_SHIFT));
	return 0;
}
