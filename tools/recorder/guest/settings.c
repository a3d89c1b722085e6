/* SPDX-License-Identifier: MIT */
/* The table of settings. */
#include "settings.h"

#include <stddef.h>
#include <string.h>

#include <pagesim/types.h>

#include "small_files.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define VM  "/proc/sys/vm/"

/* Those with a name can be set by `kernel set`. */
static const struct {
	const char *name, *path, *value;
} settings[] = {
	{ "thp_enabled", THP "enabled", "madvise" },
	{ "thp_defrag", THP "defrag", "madvise" },
	{ "shmem_enabled", THP "shmem_enabled", "advise" },
	{ "use_zero_page", THP "use_zero_page", "1" },
	{ "numa_balancing", "/proc/sys/kernel/numa_balancing", "0" },
	{ "demotion_enabled", "/sys/kernel/mm/numa/demotion_enabled", "0" },
	{ "swappiness", VM "swappiness", "60" },
	/* Nothing that works by itself may come in between... */
	{ NULL, VM "compaction_proactiveness", "0" },
	{ NULL, VM "watermark_boost_factor", "0" },
	{ NULL, VM "zone_reclaim_mode", "0" },
	{ NULL, VM "dirty_writeback_centisecs", "360000" },
	{ NULL, VM "dirty_expire_centisecs", "360000" },
	{ NULL, "/sys/kernel/mm/ksm/run", "0" },
	/* ...no neighbour of a page be read or mapped with it... */
	{ NULL, VM "page-cluster", "0" },
	{ NULL, "/sys/kernel/mm/swap/vma_ra_enabled", "false" },
	{ NULL, "/sys/block/vda/queue/read_ahead_kb", "0" },
	{ NULL, "/sys/kernel/debug/fault_around_bytes", "4096" },
	/* ...and no mapping be refused for its size. */
	{ NULL, VM "overcommit_memory", "1" },
};

void settings_reset(void (*refused)(const char *path, int error))
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		int error = small_file_write(settings[i].path, settings[i].value);

		if (error)
			refused(settings[i].path, error);
	}
}

const char *setting_path(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (settings[i].name && !strcmp(settings[i].name, name))
			return settings[i].path;
	return NULL;
}
