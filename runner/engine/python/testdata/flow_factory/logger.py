class LogFormatter:
    @staticmethod
    def to_scalar(value):
        return value if isinstance(value, (int, float)) else None
