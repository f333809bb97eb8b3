"""The ROS 2 side of robot_rl: nodes that convert and wire, and hold no logic. The only part that imports rclpy."""
