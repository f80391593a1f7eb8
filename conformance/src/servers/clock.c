/* A wall clock that jumps: stands before the C library's in a server that reads no other, and adds as many seconds as the
 * file TOOZ_CLOCK says. The kernel is asked directly, and nothing is allocated, so that an allocator may ask for the time. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile const long *shift;

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    long failed = syscall(SYS_gettimeofday, now, zone);
    if (shift == 0) {
        int file = open(getenv("TOOZ_CLOCK"), O_RDONLY | O_CLOEXEC);
        void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        if (page == MAP_FAILED)
            _exit(127);
        close(file);
        shift = page;
    }
    now->tv_sec += *shift;
    return (int)failed;
}
