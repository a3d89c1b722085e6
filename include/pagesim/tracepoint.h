/* SPDX-License-Identifier: MIT */
/*
 * Tracepoints: places in the model where a listener is told what happens, by Linux's names, with Linux's fields, and
 * printable in Linux's format. Nobody listening costs one load and one predictable branch, and the arguments are not
 * even evaluated. A tracepoint is one entry in the list below; trace_NAME(...) and struct ps_event_NAME follow from it.
 *
 * Listeners belong to one struct ps_stats, thus to one simulated machine. They run where the event happens, as the
 * task it happens to: they may read and count, and must not sleep, take the model's locks or change the model.
 *
 * Sources: Linux 6.1 include/trace/events/migrate.h (names, fields and print formats as facts).
 *
 * Layer: stats
 */
#ifndef PAGESIM_TRACEPOINT_H
#define PAGESIM_TRACEPOINT_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * TP(name, fields in order, print format and arguments of the event e).
 * Numbers of mode and reason are those of enum migrate_mode and enum migrate_reason (migrate.h).
 * mm_migrate_pages carries large_folio_split, which newer kernels print as nr_split; 6.1 does not print it.
 */
#define PS_TRACEPOINTS(TP)                                                                                           \
	TP(mm_migrate_pages, u64 succeeded; u64 failed; u64 thp_succeeded; u64 thp_failed; u64 thp_split;            \
	   u64 large_folio_split; int mode; int reason;                                                              \
	   , ("nr_succeeded=%llu nr_failed=%llu nr_thp_succeeded=%llu nr_thp_failed=%llu nr_thp_split=%llu mode=%s " \
	      "reason=%s",                                                                                           \
	      (unsigned long long)e->succeeded, (unsigned long long)e->failed, (unsigned long long)e->thp_succeeded, \
	      (unsigned long long)e->thp_failed, (unsigned long long)e->thp_split, ps_migrate_mode_name(e->mode),    \
	      ps_migrate_reason_name(e->reason)))                                                                    \
	TP(mm_migrate_pages_start, int mode; int reason;                                                             \
	   , ("mode=%s reason=%s", ps_migrate_mode_name(e->mode), ps_migrate_reason_name(e->reason)))                \
	TP(set_migration_pte, u64 addr; u64 pte; int order;                                                          \
	   , ("addr=%llx, pte=%llx order=%d", (unsigned long long)e->addr, (unsigned long long)e->pte, e->order))    \
	TP(remove_migration_pte, u64 addr; u64 pte; int order;                                                       \
	   , ("addr=%llx, pte=%llx order=%d", (unsigned long long)e->addr, (unsigned long long)e->pte, e->order))    \
	TP(set_migration_pmd, u64 addr; u64 pmd;                                                                     \
	   , ("addr=%llx, pmd=%llx", (unsigned long long)e->addr, (unsigned long long)e->pmd))                       \
	TP(remove_migration_pmd, u64 addr; u64 pmd;                                                                  \
	   , ("addr=%llx, pmd=%llx", (unsigned long long)e->addr, (unsigned long long)e->pmd))

#define PS_TP_ENUM(name, fields, print) PS_TP_##name,
enum ps_tracepoint { PS_TRACEPOINTS(PS_TP_ENUM) PS_NR_TRACEPOINTS };
#undef PS_TP_ENUM

#define PS_TP_STRUCT(name, fields, print) \
	struct ps_event_##name {          \
		fields                    \
	};
PS_TRACEPOINTS(PS_TP_STRUCT)
#undef PS_TP_STRUCT

/**
 * struct ps_probe - one listener to one tracepoint, in the listener's storage.
 * @fn: called with @arg, the tracepoint and its struct ps_event_NAME, which is gone when @fn returns.
 */
struct ps_probe {
	enum ps_tracepoint tracepoint;
	void (*fn)(void *arg, enum ps_tracepoint tracepoint, const void *event);
	void *arg;
	/* Next listener of the same tracepoint; owned by ps_probe_register. */
	struct ps_probe *next;
};

struct ps_stats;

/**
 * ps_probe_register - from now on @probe hears of its tracepoint, after those registered before it.
 * Context: no task of the machine runs. Return: 0, -EINVAL (no such tracepoint, no function), -EEXIST (registered).
 */
int ps_probe_register(struct ps_stats *stats, struct ps_probe *probe);
/** ps_probe_unregister - undoes it. Context: no task of the machine runs. Return: 0, -ENOENT. */
int ps_probe_unregister(struct ps_stats *stats, struct ps_probe *probe);

/** ps_tracepoint_name - name of a tracepoint, NULL when there is no such one. */
const char *ps_tracepoint_name(int tracepoint);
/** ps_tracepoint_find - the tracepoint called @name. Return: -ENOENT when there is none. */
int ps_tracepoint_find(const char *name);
/**
 * ps_tracepoint_format - the event's fields in Linux's print format, without the event's name.
 * Return: as snprintf; -ENOENT when there is no such tracepoint.
 */
int ps_tracepoint_format(char *buf, size_t size, int tracepoint, const void *event);

/** Linux's words for a mode and a reason of migration; "?" for a number without one. */
const char *ps_migrate_mode_name(int mode);
const char *ps_migrate_reason_name(int reason);

/** ps_trace_deliver - what trace_NAME() calls when somebody listens. */
void ps_trace_deliver(struct ps_stats *stats, enum ps_tracepoint tracepoint, const void *event);

/* The user has included vmstat.h, which has struct ps_stats. Arguments in the order of the fields above. */
#define PS_TRACE(name, ...)                                                    \
	do {                                                                   \
		struct ps_stats *ps_stats_ = ps_current->stats;                \
		if (unlikely(ps_stats_->probe[PS_TP_##name])) {                \
			struct ps_event_##name ps_event_ = { __VA_ARGS__ };    \
			ps_trace_deliver(ps_stats_, PS_TP_##name, &ps_event_); \
		}                                                              \
	} while (0)

#define trace_mm_migrate_pages(...)       PS_TRACE(mm_migrate_pages, __VA_ARGS__)
#define trace_mm_migrate_pages_start(...) PS_TRACE(mm_migrate_pages_start, __VA_ARGS__)
#define trace_set_migration_pte(...)      PS_TRACE(set_migration_pte, __VA_ARGS__)
#define trace_remove_migration_pte(...)   PS_TRACE(remove_migration_pte, __VA_ARGS__)
#define trace_set_migration_pmd(...)      PS_TRACE(set_migration_pmd, __VA_ARGS__)
#define trace_remove_migration_pmd(...)   PS_TRACE(remove_migration_pmd, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
