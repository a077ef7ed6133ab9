"""What the engine measures about itself: metrics, bottlenecks, report."""
