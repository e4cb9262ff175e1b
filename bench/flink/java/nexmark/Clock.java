package nexmark;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.concurrent.atomic.AtomicLong;

/** What the running job has taken since its first source began to read; one job runs at a time in this process. */
final class Clock {
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private static final AtomicLong STARTED = new AtomicLong();
    private static volatile long cpuBefore;

    private Clock() {}

    static void reset() {
        STARTED.set(0);
    }

    static void sourceStarted() {
        if (STARTED.compareAndSet(0, System.nanoTime())) {
            cpuBefore = SYSTEM.getProcessCpuTime();
        }
    }

    static double seconds() {
        return (System.nanoTime() - STARTED.get()) / 1e9;
    }

    /** Processor seconds of all threads of this process, those of the collector and the JIT too. */
    static double cpuSeconds() {
        return (SYSTEM.getProcessCpuTime() - cpuBefore) / 1e9;
    }
}
